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

// A token of a batch may be one that its maker has not seen: what group `group` of the step before draws.
inline constexpr TokenId DrawnBy(int32_t group) {
  return -1 - group;
}
inline constexpr bool IsDrawn(TokenId token) {
  return token < 0;
}
// REQUIRES: IsDrawn(token).
inline constexpr int32_t DrawingGroup(TokenId token) {
  return -1 - token;
}

// One row's part of a step.
struct BatchRow {
  int64_t length = 0;       // tokens that are in the cache before this step
  int64_t n_new = 0;        // tokens of this step, at least 1; they stand at length, length + 1, ...
  int64_t first_token = 0;  // index of its first new token in Batch::tokens
  int32_t plan = 0;         // index into Batch::plans
  // Whether the ring holds the near keys of the row's last tokens: after each step that computed tokens of the row it
  // does; before its first one, where `length` tokens came from elsewhere, it does not, and the step fills it.
  bool ring_ready = false;
  // Its blocks in Batch::block_ids, which hold length + n_new tokens.
  int64_t first_block = 0, n_blocks = 0;
  // A plan with a far regime: its near ring, as many as CacheGeometry::RingBlocks says, that belong to the row alone
  // and are kept from step to step. Else none.
  int64_t first_ring_block = 0, n_ring_blocks = 0;
};

// What the logits of a token are wanted for: a target to score, or kSampled: its group draws from them.
struct WantedLogits {
  static constexpr TokenId kSampled = -1;

  int64_t token = 0;  // index into Batch::tokens
  TokenId target = kSampled;
};

// What a group draws at a step.
struct BatchDraw {
  std::shared_ptr<const SamplerSpec> spec{};  // never null
  ForbiddenTokens forbidden = ForbiddenTokens::kNone;
  uint64_t sample = 0;  // which of the request's answers
  uint64_t index = 0;   // of the token in the answer
  TokenId forced = -1;  // not negative: taken whatever the logits are
  // Of the answer, in Batch::counts; without the token that the step before draws, if the group's tokens hold that.
  int64_t first_count = 0, n_counts = 0;
  // How the logits of several rows become one, and the row that the step before chose (-1: there was none; it does not
  // matter where the group's tokens hold what that draws). REQUIRED where the group has several rows.
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
// its maker may change. Every new token takes part in the matrix products of the step; logits exist only where they are
// wanted ("logit rows", in the order of `wanted`).
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
  // The question of a group that draws. `uncounted`: see SamplerInput. A view of this batch.
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

// Which row of several the drawn token is cited from.
struct MergeChoice {
  int32_t row = -1;              // from 1 on; -1: none was usable
  std::vector<float> entropies;  // of all rows; NaN of one that is not usable
  bool fell_back = false;        // not what the policy asks for first: see MergePolicy
};

// What a step made of one group: ids, log-probabilities, never whole logits.
struct GroupResult {
  SamplerResult drawn;             // where it draws
  MergeChoice choice;              // where it draws from several rows
  std::vector<TokenScore> scores;  // of Batch::Scored(group), in its order
};

struct StepResult {
  std::vector<GroupResult> groups;       // [Batch::groups]
  std::chrono::nanoseconds sampling{0};  // the part of the step that made these of logits
};

}  // namespace longhaul
