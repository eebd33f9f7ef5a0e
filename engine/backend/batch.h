#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/base/token.h"
#include "engine/decoding/nbce_combiner.h"
#include "engine/decoding/sampler.h"
#include "engine/position/rotary_plan.h"

namespace longhaul {

// The id of a block of the KV cache: kBlockTokens tokens of all layers.
using BlockId = int32_t;

// Tokens of a block on the CPU: the keys of a block are one vector of 16 floats per dimension.
inline constexpr int64_t kBlockTokens = 16;

// Blocks of `n` tokens.
inline constexpr int64_t BlocksFor(int64_t n) {
  return n / kBlockTokens + (n % kBlockTokens != 0 ? 1 : 0);
}

// Blocks of the ring that keeps the near keys of the last `window` tokens of a row of at most `capacity` tokens. Keys
// alone, so a block holds those of two blocks of tokens.
inline constexpr int64_t RingBlocks(int64_t window, int64_t capacity) {
  const int64_t touched = BlocksFor(window - 1) + 1;  // blocks of tokens that a window can lie across
  const int64_t halves = touched < BlocksFor(capacity) ? touched : BlocksFor(capacity);
  return (halves + 1) / 2;
}

// The same for a plan; 0 without a far regime.
inline int64_t RingBlocks(const RotaryPlan& plan, int64_t capacity) {
  return plan.far.has_value() ? RingBlocks(plan.far->window, capacity) : 0;
}

// One row's part of a step.
struct BatchRow {
  std::span<const BlockId> block_table;  // holds at least length + n_new tokens; outlives the step
  // A plan with a far regime: its near ring, RingBlocks(plan, capacity) blocks that belong to the row alone, kept from
  // step to step. Else empty.
  std::span<const BlockId> ring_table{};
  // Whether the ring holds the near keys of the row's last tokens: after each step that computed tokens of the row it
  // does; before its first one, where `length` tokens came from elsewhere, it does not, and the step fills it.
  bool ring_ready = false;
  int64_t length = 0;       // tokens that are in the cache before this step
  int64_t n_new = 0;        // tokens of this step, at least 1; they stand at length, length + 1, ...
  int64_t first_token = 0;  // index of its first new token in Batch::tokens
  int plan = 0;             // index into Batch::plans
  int64_t first_logit = 0;  // logits are wanted from this new token on; n_new: none
};

// One group's question to the NBCE combiner at one step.
struct NbceInput {
  NbceParams params{};
  int32_t previous = -1;  // the row that was chosen at the step before; -1: there was none
};

// What it answered.
struct NbceChoice {
  int32_t row = -1;              // the chosen one, from 1 on; -1: none was usable
  std::vector<float> entropies;  // of all rows
  bool fell_back = false;        // no token was left that may be drawn: the chosen row spoke alone
};

// Rows that decode in lock-step and share their next token (a plain request: one row).
struct BatchGroup {
  int first_row = 0;
  int n_rows = 1;
  // What to make of the logits of its last tokens; null while the prompt is still being read and when it is scored.
  // Outlives the step.
  const SamplerInput* sampler = nullptr;
  // How the logits of several rows become one; outlives the step. REQUIRED where several rows are sampled.
  const NbceInput* nbce = nullptr;
};

// What a backend computes in one step: a ragged batch, prefill and decode mixed. Every new token takes part in the
// products of the step; logits exist only for the tokens that a row's first_logit names ("logit rows", in order).
struct Batch {
  std::vector<TokenId> tokens;     // [n_tokens], row after row
  std::vector<int64_t> positions;  // [n_tokens]
  std::vector<int32_t> row_of;     // [n_tokens]
  std::vector<BatchRow> rows;
  std::vector<BatchGroup> groups;        // cover all rows in order
  std::vector<const RotaryPlan*> plans;  // outlive the step
  // [logit rows] the id to score, -1 where the logit row is for a group's sampler; empty when nothing is scored.
  std::vector<TokenId> targets;
  int top_scores = 0;  // how many top tokens each scored logit row also reports (the most any row wants)

  int64_t n_tokens() const { return static_cast<int64_t>(tokens.size()); }
  int64_t n_logit_rows() const {
    int64_t n = 0;
    for (const BatchRow& row : rows) n += row.n_new - row.first_logit;
    return n;
  }
};

// The log-probability of a target, natural logarithm.
struct TokenScore {
  float logprob = 0;
  std::vector<TokenLogprob> top;  // most probable first; top_scores of them
};

// What a step made: ids, log-probabilities, never whole logits.
struct StepResult {
  std::vector<SamplerResult> groups;     // [Batch::groups]; only those with a sampler are filled
  std::vector<NbceChoice> choices;       // [Batch::groups]; only those with several rows and a sampler are filled
  std::vector<TokenScore> scores;        // one per logit row whose target is not -1, in order
  std::chrono::nanoseconds sampling{0};  // the part of the step that made these of logits
};

}  // namespace longhaul
