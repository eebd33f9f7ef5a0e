#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/base/token.h"

namespace longhaul {

// How the next token is drawn. The defaults are greedy. Order: penalties, logit bias, temperature, top_k, top_p, min_p,
// draw; equal probabilities at a cut: the lower id stays.
struct SamplingParams {
  float temperature = 0;         // >= 0; 0 = greedy
  int32_t top_k = 0;             // keep the k most probable; 0 = all
  float top_p = 1;               // (0, 1]: keep the fewest most probable whose sum reaches it
  float min_p = 0;               // [0, 1]: keep those at least min_p times as probable as the most probable
  float repetition_penalty = 1;  // > 0: logits of seen tokens are divided (positive) or multiplied (negative) by it
  float presence_penalty = 0;    // subtracted from the logit of each token that the answer holds
  float frequency_penalty = 0;   // subtracted once per occurrence in the answer
  std::vector<std::pair<TokenId, float>> logit_bias;  // added to the logit; ids ascending and distinct
  uint64_t seed = 0;
};

// Occurrences of each token.
using TokenCounts = std::unordered_map<TokenId, int32_t>;

// What does not change while a request's answers are made. Immutable; shared by all its steps.
struct SamplerSpec {
  SamplingParams params;
  TokenCounts prompt_counts;         // of the prompt, for the repetition penalty; empty: they do not count
  std::vector<TokenId> end_tokens;   // of the model
  std::vector<TokenId> stop_tokens;  // of the request
  int top_logprobs = -1;             // -1: none; 0: of the chosen token; n: of the n most probable too

  // Whether a step must tell how often the answer holds each token.
  bool counts_tokens() const {
    return params.repetition_penalty != 1 || params.presence_penalty != 0 || params.frequency_penalty != 0;
  }
};

// Tokens that a step must not draw: end tokens, stop tokens.
enum class ForbiddenTokens { kNone, kEnds, kEndsAndStops };

// A token and how often an answer holds it.
struct TokenCount {
  TokenId id = 0;
  int32_t count = 0;
};

// The input of SampleToken for one answer at one step. A view: owns nothing.
struct SamplerInput {
  const SamplerSpec* spec = nullptr;            // never null
  std::span<const TokenCount> answer_counts{};  // ids distinct, counts positive; only where spec->counts_tokens()
  TokenId uncounted = -1;                       // if not negative: a token of the answer that answer_counts leaves out
  ForbiddenTokens forbidden = ForbiddenTokens::kNone;
  uint64_t sample = 0;  // which of the request's answers
  uint64_t index = 0;   // of the token in the answer; the random number is keyed by (seed, sample, index)
  TokenId forced = -1;  // if not negative: taken whatever the logits are, for its log-probability
};

struct TokenLogprob {
  TokenId id = 0;
  float logprob = 0;  // natural logarithm, of the raw logits
};

struct SamplerResult {
  TokenId id = -1;    // -1: every token was forbidden, or a logit was NaN or +infinity; nothing else holds then
  float logprob = 0;  // where spec->top_logprobs >= 0
  std::vector<TokenLogprob> top;  // most probable first, equal ones by id
};

// Draws one token from `logits` [vocabulary] as `input` says. A pure function of its arguments; logits stay as they
// are.
SamplerResult SampleToken(std::span<const float> logits, const SamplerInput& input);

// The `n` most probable tokens with their log-probabilities, fewer where fewer have a probability, none where a logit
// is NaN; `log_sum_exp` is that of the same logits.
std::vector<TokenLogprob> TopLogprobs(std::span<const float> logits, float log_sum_exp, int n);

// A uniform number in [0, 1) that is a pure function of its key.
double UniformFromKey(uint64_t seed, uint64_t sample, uint64_t index);

}  // namespace longhaul
