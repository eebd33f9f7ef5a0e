#include "engine/decoding/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/base/mix64.h"
#include "engine/decoding/log_softmax.h"
#include "engine/decoding/logit_kernels.h"
#include "engine/decoding/ranking.h"

namespace longhaul {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kLargest = std::numeric_limits<float>::max();

bool NeedsAdjusting(const SamplerInput& input) {
  return input.forbidden != ForbiddenTokens::kNone || !input.spec->params.logit_bias.empty() ||
         input.spec->counts_tokens();
}

// Calls visit(id, count) for every token of the answer, each once.
template <typename Visit>
void ForAnswer(const SamplerInput& input, Visit visit) {
  bool counted = input.uncounted < 0;
  for (const auto& [id, count] : input.answer_counts) {
    const bool once_more = id == input.uncounted;
    visit(id, count + (once_more ? 1 : 0));
    counted = counted || once_more;
  }
  if (!counted) visit(input.uncounted, 1);
}

// Penalties, logit bias and forbidden tokens, in place. Ids outside the vocabulary are ignored.
void Adjust(const SamplerInput& input, std::span<float> logits) {
  const SamplerSpec& spec = *input.spec;
  const SamplingParams& params = spec.params;
  const auto change = [&](TokenId id, auto change_of) {
    if (id < 0 || static_cast<size_t>(id) >= logits.size()) return;
    float& logit = logits[static_cast<size_t>(id)];
    // A finite logit stays finite: no bias makes a token infinitely probable, no penalty a row without tokens.
    if (std::isfinite(logit)) logit = std::clamp(change_of(logit), -kLargest, kLargest);
  };
  if (params.repetition_penalty != 1) {
    const auto repeat = [&](float x) { return x > 0 ? x / params.repetition_penalty : x * params.repetition_penalty; };
    for (const auto& [id, count] : spec.prompt_counts) change(id, repeat);
    ForAnswer(input, [&](TokenId id, int32_t) {
      if (!spec.prompt_counts.contains(id)) change(id, repeat);
    });
  }
  if (params.presence_penalty != 0 || params.frequency_penalty != 0) {
    ForAnswer(input, [&](TokenId id, int32_t count) {
      const float penalty = params.presence_penalty + params.frequency_penalty * static_cast<float>(count);
      change(id, [&](float x) { return x - penalty; });
    });
  }
  for (const auto& [id, bias] : params.logit_bias) change(id, [&](float x) { return x + bias; });
  const auto forbid = [&](std::span<const TokenId> ids) {
    for (TokenId id : ids) {
      if (id >= 0 && static_cast<size_t>(id) < logits.size()) logits[static_cast<size_t>(id)] = -kInfinity;
    }
  };
  if (input.forbidden != ForbiddenTokens::kNone) forbid(spec.end_tokens);
  if (input.forbidden == ForbiddenTokens::kEndsAndStops) forbid(spec.stop_tokens);
}

// Draws from `ranking`, whose maximum is finite. Weights are exp((logit - max) / temperature); their cumulative sums
// are one chain in double in the order of the ranking.
TokenId Draw(Ranking& ranking, std::span<const float> logits, const SamplingParams& params, double uniform) {
  const float finite_temperature = std::min(params.temperature, kLargest);
  const double max = static_cast<double>(ranking.max()), temperature = static_cast<double>(finite_temperature);
  const auto weight = [&](size_t rank) {
    return std::exp((static_cast<double>(ranking[rank].value) - max) / temperature);
  };
  const size_t size = ranking.size();
  const size_t top_k = params.top_k > 0 ? std::min(static_cast<size_t>(params.top_k), size) : size;
  const bool cut_by_top_p = params.top_p<1, cut_by_min_p = params.min_p> 0;

  // The sum of what top_k leaves: over the row in order of ids where it leaves everything, so that nothing is sorted.
  const auto sum_of_top_k = [&] {
    if (top_k == size) return SumExp(logits, ranking.max(), std::min(1 / finite_temperature, kLargest));
    double sum = 0;
    for (size_t rank = 0; rank < top_k; ++rank) sum += weight(rank);
    return sum;
  };

  if (top_k == size && !cut_by_top_p && !cut_by_min_p) {
    const double target = uniform * sum_of_top_k();
    double sum = 0;
    TokenId last = ranking[0].id;
    for (size_t rank = 0; rank < size; ++rank) {
      const double w = weight(rank);
      if (w == 0) break;
      sum += w;
      last = ranking[rank].id;
      if (sum > target) break;
    }
    return last;
  }

  const double enough = cut_by_top_p ? static_cast<double>(params.top_p) * sum_of_top_k() : kInfinity;
  thread_local std::vector<double> sums;  // [kept], at most [size]
  sums.clear();
  sums.reserve(size);
  double sum = 0;
  for (size_t rank = 0; rank < top_k && (rank == 0 || sum < enough); ++rank) {
    const double w = weight(rank);
    if (rank > 0 && (w == 0 || w < static_cast<double>(params.min_p))) break;
    sums.push_back(sum += w);
  }
  const auto drawn = std::upper_bound(sums.begin(), sums.end() - 1, uniform * sum);
  return ranking[static_cast<size_t>(drawn - sums.begin())].id;
}

}  // namespace

double UniformFromKey(uint64_t seed, uint64_t sample, uint64_t index) {
  constexpr uint64_t kGolden = 0x9e3779b97f4a7c15ULL;
  uint64_t bits = Mix64(seed + kGolden);
  bits = Mix64(bits + (sample + 1) * kGolden);
  bits = Mix64(bits + (index + 1) * kGolden);
  return static_cast<double>(bits >> 11) * 0x1p-53;
}

std::vector<TokenLogprob> TopLogprobs(std::span<const float> logits, float log_sum_exp, int n) {
  std::vector<TokenLogprob> top;
  if (n <= 0) return top;
  thread_local Ranking::Memory memory;
  Ranking ranking(logits, memory);
  if (!ranking.numbers()) return top;
  const size_t size = std::min(static_cast<size_t>(n), logits.size());
  for (size_t rank = 0; rank < size && std::isfinite(ranking[rank].value); ++rank) {
    top.push_back({ranking[rank].id, LogProbability(ranking[rank].value, log_sum_exp)});
  }
  return top;
}

SamplerResult SampleToken(std::span<const float> logits, const SamplerInput& input) {
  // Kept between calls, as in all functions here: each thread that draws holds some values a token of the vocabulary.
  thread_local std::vector<float> adjusted;
  thread_local Ranking::Memory memory;
  std::span<const float> values = logits;
  if (NeedsAdjusting(input)) {
    adjusted.assign(logits.begin(), logits.end());
    Adjust(input, adjusted);
    values = adjusted;
  }

  Ranking ranking(values, memory);
  SamplerResult result;
  if (!ranking.numbers() || !std::isfinite(ranking.max())) return result;
  const SamplingParams& params = input.spec->params;
  result.id = input.forced >= 0 ? input.forced
              : params.temperature > 0
                  ? Draw(ranking, values, params, UniformFromKey(params.seed, input.sample, input.index))
                  : ranking.First();
  if (input.spec->top_logprobs >= 0) {
    const float log_sum_exp = LogSumExp(logits);
    result.logprob = LogProbability(logits[static_cast<size_t>(result.id)], log_sum_exp);
    if (std::isnan(result.logprob)) return SamplerResult{};  // the logit that is no number was forbidden
    result.top = TopLogprobs(logits, log_sum_exp, input.spec->top_logprobs);
  }
  return result;
}

}  // namespace longhaul
