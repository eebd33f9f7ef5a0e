#include "engine/backend/batch_check.h"

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"

namespace longhaul {
namespace {

template <typename... Parts>
absl::Status Wrong(const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat("batch: ", parts...));
}

absl::Status CheckRow(const Batch& batch, size_t index, int64_t first_token, const CacheShape& shape) {
  const BatchRow& row = batch.rows[index];
  if (row.n_new < 1 || row.length < 0 || row.n_new > batch.n_tokens() - first_token || row.first_token != first_token) {
    return Wrong("row ", index, " has ", row.n_new, " new tokens from ", row.first_token, " on, behind ", row.length);
  }
  if (row.length > shape.max_positions - row.n_new) {
    return Wrong("row ", index, " grows by ", row.n_new, " to more than ", shape.max_positions, " tokens");
  }
  const int64_t n_blocks = (row.length + row.n_new + kBlockTokens - 1) / kBlockTokens;
  if (static_cast<int64_t>(row.block_table.size()) < n_blocks) {
    return Wrong("row ", index, " needs ", n_blocks, " blocks and has ", row.block_table.size());
  }
  for (int64_t b = 0; b < n_blocks; ++b) {
    const BlockId block = row.block_table[static_cast<size_t>(b)];
    if (block < 0 || block >= shape.n_blocks) return Wrong("row ", index, " names block ", block);
  }
  if (row.plan < 0 || static_cast<size_t>(row.plan) >= batch.plans.size()) {
    return Wrong("row ", index, " names plan ", row.plan, " of ", batch.plans.size());
  }
  const RotaryPlan& plan = *batch.plans[static_cast<size_t>(row.plan)];
  const int64_t ring_blocks = RingBlocks(plan, row.length + row.n_new);
  if (static_cast<int64_t>(row.ring_table.size()) < ring_blocks) {
    return Wrong("row ", index, " needs a ring of ", ring_blocks, " blocks and has ", row.ring_table.size());
  }
  for (BlockId block : row.ring_table) {
    if (block < 0 || block >= shape.n_blocks) return Wrong("row ", index, " names block ", block, " in its ring");
  }
  if (row.first_logit < 0 || row.first_logit > row.n_new) {
    return Wrong("row ", index, " wants logits from token ", row.first_logit, " of ", row.n_new);
  }
  return absl::OkStatus();
}

absl::Status CheckSampled(const Batch& batch, const BatchGroup& group, int64_t vocabulary_size) {
  if ((group.n_rows > 1) != (group.nbce != nullptr)) {
    return Wrong("a group of ", group.n_rows, " rows is sampled ", group.nbce != nullptr ? "" : "not ", "as NBCE");
  }
  for (int r = group.first_row; r < group.first_row + group.n_rows; ++r) {
    const BatchRow& row = batch.rows[static_cast<size_t>(r)];
    if (row.first_logit != row.n_new - 1) {
      return Wrong("row ", r, " is sampled with logits of ", row.n_new - row.first_logit, " tokens");
    }
  }
  if (group.sampler->forced >= vocabulary_size) {
    return Wrong("token ", group.sampler->forced, " of a vocabulary of ", vocabulary_size);
  }
  if (group.nbce == nullptr) return absl::OkStatus();
  const NbceParams& nbce = group.nbce->params;
  if (!(nbce.beta >= -1 && nbce.top_p > 0 && nbce.top_p <= 1) || group.nbce->previous >= group.n_rows) {
    return Wrong("NBCE with beta ", nbce.beta, ", top_p ", nbce.top_p, " and row ", group.nbce->previous, " of ",
                 group.n_rows);
  }
  return absl::OkStatus();
}

absl::Status CheckGroups(const Batch& batch, int64_t vocabulary_size) {
  size_t row = 0;
  for (const BatchGroup& group : batch.groups) {
    if (group.n_rows < 1 || group.first_row < 0 || static_cast<size_t>(group.first_row) != row ||
        static_cast<size_t>(group.n_rows) > batch.rows.size() - row) {
      return Wrong("the groups do not cover the ", batch.rows.size(), " rows in order");
    }
    if (group.sampler != nullptr) LH_RETURN_IF_ERROR(CheckSampled(batch, group, vocabulary_size));
    row += static_cast<size_t>(group.n_rows);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckBatch(const Batch& batch, const CacheShape& shape, int64_t vocabulary_size) {
  if (batch.tokens.empty()) return Wrong("no tokens");
  for (TokenId token : batch.tokens) {
    if (token < 0 || token >= vocabulary_size) return Wrong("token ", token, " of a vocabulary of ", vocabulary_size);
  }
  for (const RotaryPlan* plan : batch.plans) {
    if (plan == nullptr || 2 * static_cast<int64_t>(plan->inv_freq.size()) > shape.head_dim) {
      return Wrong("a plan is missing or turns more dimensions than the ", shape.head_dim, " of a head");
    }
    if (plan->far.has_value() && (plan->far->window < 1 || plan->far->divisor < 0)) {
      return Wrong("a far regime of window ", plan->far->window, " and divisor ", plan->far->divisor);
    }
  }
  int64_t tokens = 0;
  for (size_t row = 0; row < batch.rows.size(); ++row) {
    LH_RETURN_IF_ERROR(CheckRow(batch, row, tokens, shape));
    tokens += batch.rows[row].n_new;
  }
  if (tokens != batch.n_tokens()) return Wrong("the rows hold ", tokens, " of ", batch.n_tokens(), " tokens");
  LH_RETURN_IF_ERROR(CheckGroups(batch, vocabulary_size));
  if (!batch.targets.empty() && static_cast<int64_t>(batch.targets.size()) != batch.n_logit_rows()) {
    return Wrong(batch.targets.size(), " targets for ", batch.n_logit_rows(), " logit rows");
  }
  for (TokenId target : batch.targets) {
    if (target < -1 || target >= vocabulary_size) {
      return Wrong("target ", target, " of a vocabulary of ", vocabulary_size);
    }
  }
  if (batch.top_scores < 0) return Wrong("top_scores ", batch.top_scores);
  return absl::OkStatus();
}

}  // namespace longhaul
