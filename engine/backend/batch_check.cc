#include "engine/backend/batch_check.h"

#include <cstddef>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"

namespace longhaul {
namespace {

template <typename... Parts>
absl::Status Wrong(const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat("batch: ", parts...));
}

class BatchCheck {
 public:
  BatchCheck(const Batch& batch, const BatchBounds& bounds, const std::vector<bool>& drew)
      : batch_(batch), bounds_(bounds), drew_(drew) {}

  absl::Status Check() const {
    const StepLimits& limits = bounds_.limits;
    if (batch_.n_tokens() < 1 || batch_.n_tokens() > limits.max_tokens) {
      return Wrong(batch_.n_tokens(), " tokens: allowed are 1 to ", limits.max_tokens);
    }
    if (batch_.n_logit_rows() > limits.max_logit_rows) {
      return Wrong(batch_.n_logit_rows(), " logit rows: allowed are at most ", limits.max_logit_rows);
    }
    for (TokenId token : batch_.tokens) LH_RETURN_IF_ERROR(CheckToken(token));
    LH_RETURN_IF_ERROR(CheckPlans());
    int64_t tokens = 0;
    for (size_t row = 0; row < batch_.rows.size(); ++row) {
      LH_RETURN_IF_ERROR(CheckRow(row, tokens));
      tokens += batch_.rows[row].n_new;
    }
    if (tokens != batch_.n_tokens()) return Wrong("the rows hold ", tokens, " of ", batch_.n_tokens(), " tokens");
    return CheckGroups();
  }

 private:
  absl::Status CheckToken(TokenId token) const {
    if (!IsDrawn(token)) return CheckId("token", token);
    const auto group = static_cast<size_t>(DrawingGroup(token));
    if (group < drew_.size() && drew_[group]) return absl::OkStatus();
    return Wrong("a token is what group ", group, " drew, which drew none in the step before");
  }

  absl::Status CheckId(const char* what, TokenId token) const {
    if (token >= 0 && token < bounds_.vocabulary_size) return absl::OkStatus();
    return Wrong(what, " ", token, " of a vocabulary of ", bounds_.vocabulary_size);
  }

  absl::Status CheckPlans() const {
    if (batch_.plans.size() > batch_.rows.size()) {
      return Wrong(batch_.plans.size(), " plans of ", batch_.rows.size(), " rows");
    }
    for (const auto& plan : batch_.plans) {
      if (plan == nullptr || 2 * static_cast<int64_t>(plan->inv_freq.size()) > bounds_.head_dim) {
        return Wrong("a plan is missing or turns more dimensions than the ", bounds_.head_dim, " of a head");
      }
      if (plan->far.has_value() && (plan->far->window < 1 || plan->far->divisor < 0)) {
        return Wrong("a far regime of window ", plan->far->window, " and divisor ", plan->far->divisor);
      }
    }
    return absl::OkStatus();
  }

  // Whether [first, first + n) lies in `size` elements.
  static bool Within(int64_t first, int64_t n, size_t size) {
    const auto end = static_cast<int64_t>(size);
    return first >= 0 && n >= 0 && first <= end && n <= end - first;
  }

  absl::Status CheckRow(size_t index, int64_t first_token) const {
    const BatchRow& row = batch_.rows[index];
    if (row.n_new < 1 || row.length < 0 || row.n_new > batch_.n_tokens() - first_token ||
        row.first_token != first_token) {
      return Wrong("row ", index, " has ", row.n_new, " new tokens from ", row.first_token, " on, behind ", row.length);
    }
    if (row.length > bounds_.geometry.tokens() - row.n_new) {
      return Wrong("row ", index, " grows by ", row.n_new, " to more than ", bounds_.geometry.tokens(), " tokens");
    }
    for (int64_t t = first_token; t < first_token + row.n_new; ++t) {
      const auto at = static_cast<size_t>(t);
      if (at >= batch_.positions.size() || at >= batch_.row_of.size() ||
          batch_.positions[at] != row.length + t - first_token || batch_.row_of[at] != static_cast<int32_t>(index)) {
        return Wrong("token ", t, " is not at its place in row ", index);
      }
      if (IsDrawn(batch_.tokens[at]) && row.n_new != 1) {
        return Wrong("row ", index, " has ", row.n_new, " new tokens beside one that the step before draws");
      }
    }
    if (row.plan < 0 || static_cast<size_t>(row.plan) >= batch_.plans.size()) {
      return Wrong("row ", index, " names plan ", row.plan, " of ", batch_.plans.size());
    }
    return CheckBlocks(index);
  }

  absl::Status CheckBlocks(size_t index) const {
    const BatchRow& row = batch_.rows[index];
    const CacheGeometry& geometry = bounds_.geometry;
    if (!Within(row.first_block, row.n_blocks, batch_.block_ids.size()) ||
        !Within(row.first_ring_block, row.n_ring_blocks, batch_.block_ids.size())) {
      return Wrong("row ", index, " has blocks outside of the ", batch_.block_ids.size(), " of the batch");
    }
    const int64_t length = row.length + row.n_new;
    if (const int64_t n = geometry.BlocksFor(length); row.n_blocks < n) {
      return Wrong("row ", index, " needs ", n, " blocks and has ", row.n_blocks);
    }
    const RotaryPlan& plan = *batch_.plans[static_cast<size_t>(row.plan)];
    if (const int64_t n = geometry.RingBlocks(plan, length); row.n_ring_blocks < n) {
      return Wrong("row ", index, " needs a ring of ", n, " blocks and has ", row.n_ring_blocks);
    }
    for (const auto& blocks : {batch_.Blocks(row), batch_.RingBlocks(row)}) {
      for (BlockId block : blocks) {
        if (block < 0 || block >= geometry.n_blocks) return Wrong("row ", index, " names block ", block);
      }
    }
    return absl::OkStatus();
  }

  absl::Status CheckGroups() const {
    size_t row = 0;
    int64_t wanted = 0;
    for (size_t g = 0; g < batch_.groups.size(); ++g) {
      const BatchGroup& group = batch_.groups[g];
      if (group.n_rows < 1 || static_cast<size_t>(group.first_row) != row ||
          static_cast<size_t>(group.n_rows) > batch_.rows.size() - row) {
        return Wrong("the groups do not cover the ", batch_.rows.size(), " rows in order");
      }
      const int64_t n_wanted = group.n_scored + (group.draw.has_value() ? group.n_rows : 0);
      if (group.first_wanted != wanted || group.n_scored < 0 ||
          !Within(group.first_wanted, n_wanted, batch_.wanted.size())) {
        return Wrong("group ", g, " has logits outside of the ", batch_.wanted.size(), " that are wanted");
      }
      LH_RETURN_IF_ERROR(CheckScored(g));
      if (group.draw.has_value()) LH_RETURN_IF_ERROR(CheckDraw(g));
      row += static_cast<size_t>(group.n_rows);
      wanted += n_wanted;
    }
    if (row != batch_.rows.size() || wanted != batch_.n_logit_rows()) {
      return Wrong("the groups cover ", row, " of ", batch_.rows.size(), " rows and ", wanted, " of ",
                   batch_.n_logit_rows(), " logit rows");
    }
    return absl::OkStatus();
  }

  absl::Status CheckScored(size_t g) const {
    const BatchGroup& group = batch_.groups[g];
    if (group.top_scores < 0) return Wrong("group ", g, " wants ", group.top_scores, " top tokens");
    const BatchRow& first = batch_.rows[static_cast<size_t>(group.first_row)];
    const BatchRow& last = batch_.rows[static_cast<size_t>(group.first_row + group.n_rows - 1)];
    for (const WantedLogits& wanted : batch_.Scored(group)) {
      if (wanted.token < first.first_token || wanted.token >= last.first_token + last.n_new) {
        return Wrong("group ", g, " scores behind token ", wanted.token, ", which is none of its own");
      }
      LH_RETURN_IF_ERROR(CheckId("target", wanted.target));
    }
    return absl::OkStatus();
  }

  absl::Status CheckDraw(size_t g) const {
    const BatchGroup& group = batch_.groups[g];
    const BatchDraw& draw = *group.draw;
    if (draw.spec == nullptr || !Within(draw.first_count, draw.n_counts, batch_.counts.size())) {
      return Wrong("group ", g, " draws without parameters or with counts outside of the ", batch_.counts.size());
    }
    if (draw.forced >= 0) LH_RETURN_IF_ERROR(CheckId("forced token", draw.forced));
    for (int32_t r = 0; r < group.n_rows; ++r) {
      const WantedLogits& wanted = batch_.wanted[static_cast<size_t>(group.first_wanted + group.n_scored + r)];
      const BatchRow& row = batch_.rows[static_cast<size_t>(group.first_row + r)];
      if (wanted.target != WantedLogits::kSampled || wanted.token != row.first_token + row.n_new - 1) {
        return Wrong("group ", g, " draws from other logits than those of its rows' last tokens");
      }
    }
    if ((group.n_rows > 1) != draw.merge.has_value()) {
      return Wrong("group ", g, " draws from ", group.n_rows, " rows ", draw.merge.has_value() ? "with" : "without",
                   " a way to merge them");
    }
    if (!draw.merge.has_value()) return absl::OkStatus();
    const NbceParams& nbce = draw.merge->params;
    if (!(nbce.beta >= -1 && nbce.top_p > 0 && nbce.top_p <= 1) || draw.previous >= group.n_rows) {
      return Wrong("group ", g, " merges with beta ", nbce.beta, ", top_p ", nbce.top_p, " and row ", draw.previous,
                   " of ", group.n_rows);
    }
    return absl::OkStatus();
  }

  const Batch& batch_;
  const BatchBounds& bounds_;
  const std::vector<bool>& drew_;
};

}  // namespace

absl::Status CheckBatch(const Batch& batch, const BatchBounds& bounds, const std::vector<bool>& drew) {
  return BatchCheck(batch, bounds, drew).Check();
}

}  // namespace longhaul
