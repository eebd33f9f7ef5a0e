#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "engine/backend/cache_geometry.h"
#include "engine/base/token.h"
#include "engine/decoding/merge_policy.h"
#include "engine/decoding/sampler.h"
#include "engine/position/rotary_plan.h"

namespace longhaul {

// Limits of one step. What a backend takes for a step is bounded by them and by the tokens that its cache holds.
struct StepLimits {
  int64_t max_tokens = 512;  // so many rows, groups and plans at most, too: each has a token of its own
  int64_t max_logit_rows = 512;
};

// The token that group `group` of the step before draws, in a batch whose maker does not know it yet.
inline constexpr TokenId DrawnBy(int32_t group) {
  return -1 - group;
}
// Whether a token of a batch is a DrawnBy; all others are ids, which are not negative.
inline constexpr bool IsDrawn(TokenId token) {
  return token < 0;
}
// The group of a DrawnBy. REQUIRES: IsDrawn(token).
inline constexpr int32_t DrawingGroup(TokenId token) {
  return -1 - token;
}

// One row's part of a step.
struct BatchRow {
  int64_t length = 0;       // tokens that are in the cache before this step
  int64_t n_new = 0;        // tokens of this step, at least 1; they stand at length, length + 1, ...
  int64_t first_token = 0;  // index of its first new token in Batch::tokens
  int32_t plan = 0;         // index into Batch::plans
  // Whether the ring holds the near keys of the last tokens of the row. It does after each step that computed tokens of
  // the row. It does not before the first one, where `length` tokens came from the prefix cache: that step fills it.
  bool ring_ready = false;
  // Its blocks in Batch::block_ids, which hold length + n_new tokens.
  int64_t first_block = 0, n_blocks = 0;
  // Where the plan has a far regime: its near ring, CacheGeometry::RingBlocks blocks that belong to the row alone and
  // are kept from step to step. Else none.
  int64_t first_ring_block = 0, n_ring_blocks = 0;
};

// Logits that a step computes: of which token, and what for: a target to score, or kSampled: its group draws from them.
struct WantedLogits {
  static constexpr TokenId kSampled = -1;

  int64_t token = 0;  // index into Batch::tokens
  TokenId target = kSampled;
};

// How a group draws its next token.
struct BatchDraw {
  std::shared_ptr<const SamplerSpec> spec{};  // never null
  ForbiddenTokens forbidden = ForbiddenTokens::kNone;
  uint64_t sample = 0;  // which of the request's answers
  uint64_t index = 0;   // of the token in the answer
  TokenId forced = -1;  // if not negative: taken whatever the logits are
  // Counts of the tokens of the answer, in Batch::counts; without the last token where that is a DrawnBy.
  int64_t first_count = 0, n_counts = 0;
  // How the logits of several rows are merged; REQUIRED where the group has several rows. `previous`: the row that was
  // chosen at the step before, -1 for none; not read where the last tokens of the group are DrawnBy.
  std::optional<MergePolicy> merge{};
  int32_t previous = -1;
};

// Rows that decode in lock-step and share their next token (a plain request: one row).
struct BatchGroup {
  int32_t first_row = 0;
  int32_t n_rows = 1;
  // Its logits: wanted[first_wanted..]: those that are scored, then, where it draws, one of the last token of each row.
  int64_t first_wanted = 0;
  int64_t n_scored = 0;
  int32_t top_scores = 0;           // how many top tokens are reported with each score
  std::optional<BatchDraw> draw{};  // none while the prompt is still being read and when it is scored
};

// What a backend computes in one step: a ragged batch, prefill and decode mixed. A value: nothing in it refers to what
// its maker may change. Every new token passes through all layers; logits are computed only where they are wanted
// ("logit rows", in the order of `wanted`).
struct Batch {
  std::vector<TokenId> tokens;     // [n_tokens], row after row: ids, or DrawnBy
  std::vector<int64_t> positions;  // [n_tokens]
  std::vector<int32_t> row_of;     // [n_tokens]
  std::vector<BatchRow> rows;
  std::vector<BlockId> block_ids;  // of all rows
  std::vector<BatchGroup> groups;  // cover all rows in order
  std::vector<WantedLogits> wanted;
  std::vector<TokenCount> counts;                        // of all groups that draw with penalties
  std::vector<std::shared_ptr<const RotaryPlan>> plans;  // none twice

  int64_t n_tokens() const { return static_cast<int64_t>(tokens.size()); }
  int64_t n_logit_rows() const { return static_cast<int64_t>(wanted.size()); }

  std::span<const BlockId> Blocks(const BatchRow& row) const { return Ids(row.first_block, row.n_blocks); }
  std::span<const BlockId> RingBlocks(const BatchRow& row) const {
    return Ids(row.first_ring_block, row.n_ring_blocks);
  }
  std::span<const WantedLogits> Scored(const BatchGroup& group) const {
    return {wanted.data() + group.first_wanted, static_cast<size_t>(group.n_scored)};
  }
  // The input of the sampler for a group that draws; `uncounted`: see SamplerInput. A view: valid while the batch
  // lives.
  SamplerInput SamplerInputOf(const BatchDraw& draw, TokenId uncounted) const {
    return {.spec = draw.spec.get(),
            .answer_counts = {counts.data() + draw.first_count, static_cast<size_t>(draw.n_counts)},
            .uncounted = uncounted,
            .forbidden = draw.forbidden,
            .sample = draw.sample,
            .index = draw.index,
            .forced = draw.forced};
  }

 private:
  std::span<const BlockId> Ids(int64_t first, int64_t n) const {
    return {block_ids.data() + first, static_cast<size_t>(n)};
  }
};

// The log-probability of a target, natural logarithm.
struct TokenScore {
  float logprob = 0;
  std::vector<TokenLogprob> top;  // most probable first; as many as the group's top_scores
};

// The row of several that a drawn token is cited from.
struct MergeChoice {
  int32_t row = -1;              // from 1 on; -1: none was usable
  std::vector<float> entropies;  // of all rows; NaN of one that is not usable
  bool fell_back = false;        // drawn from a source other than MergeSource::kMerged
};

// The result of a step for one group: ids and log-probabilities, never whole logits.
struct GroupResult {
  SamplerResult drawn;             // where it draws
  MergeChoice choice;              // where it draws from several rows
  std::vector<TokenScore> scores;  // of Batch::Scored(group), in its order
};

// The result of a step.
struct StepResult {
  std::vector<GroupResult> groups;       // [Batch::groups]
  std::chrono::nanoseconds sampling{0};  // the part of the step that turned logits into these
};

}  // namespace longhaul
