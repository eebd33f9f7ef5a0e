#include "tests/engine/decoding/reference_sampler.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>

namespace longhaul {
namespace {

using Entry = ReferenceDistribution::Entry;

// Rounded to float after each change, as SampleToken does: it decides which tokens are equally probable.
float AdjustedLogit(float logit, TokenId id, const SamplerQuestion& input) {
  const SamplingParams& params = input.params;
  const auto count = [id](const auto& counts) { return counts.contains(id) ? counts.at(id) : 0; };
  const int in_answer = count(input.answer_counts);
  const int in_prompt = count(input.prompt_counts);
  if (in_answer + in_prompt > 0) {
    logit = logit > 0 ? logit / params.repetition_penalty : logit * params.repetition_penalty;
  }
  if (in_answer > 0) logit -= params.presence_penalty + params.frequency_penalty * static_cast<float>(in_answer);
  for (const auto& [biased, bias] : params.logit_bias) {
    if (biased == id) logit += bias;
  }
  return logit;
}

void Normalise(std::vector<Entry>& kept) {
  double sum = 0;
  for (const Entry& entry : kept) sum += entry.probability;
  for (Entry& entry : kept) entry.probability /= sum;
}

}  // namespace

SamplerResult Sample(std::span<const float> logits, const SamplerQuestion& question, TokenId uncounted) {
  SamplerSpec spec;
  spec.params = question.params;
  spec.prompt_counts = question.prompt_counts;
  // Forbidden as the end of the text is, or as the request's own ends.
  const auto middle = question.forbidden.begin() + static_cast<std::ptrdiff_t>(question.forbidden.size() / 2);
  spec.end_tokens.assign(question.forbidden.begin(), middle);
  spec.stop_tokens.assign(middle, question.forbidden.end());
  spec.top_logprobs = question.top_logprobs;
  std::vector<TokenCount> counts;
  for (const auto& [id, count] : question.answer_counts) {
    const int32_t told = count - (id == uncounted ? 1 : 0);
    if (told > 0) counts.push_back({id, told});
  }
  return SampleToken(logits,
                     {.spec = &spec,
                      .answer_counts = counts,
                      .uncounted = uncounted,
                      .forbidden = question.forbidden.empty() ? ForbiddenTokens::kNone : ForbiddenTokens::kEndsAndStops,
                      .sample = question.sample,
                      .index = question.index,
                      .forced = question.forced});
}

ReferenceDistribution ReferenceSample(std::span<const float> logits, const SamplerQuestion& input) {
  const SamplingParams& params = input.params;
  std::vector<std::pair<float, TokenId>> ranked;
  for (TokenId id = 0; id < static_cast<TokenId>(logits.size()); ++id) {
    if (std::count(input.forbidden.begin(), input.forbidden.end(), id) > 0) continue;
    const float logit = AdjustedLogit(logits[static_cast<size_t>(id)], id, input);
    if (!std::isinf(logit)) ranked.emplace_back(-logit, id);
  }
  std::sort(ranked.begin(), ranked.end());
  ReferenceDistribution result;
  if (ranked.empty()) return result;
  if (params.temperature == 0) {
    result.kept = {{ranked[0].second, 1.0}};
    return result;
  }

  std::vector<Entry>& kept = result.kept;
  for (const auto& [minus_logit, id] : ranked) {
    const double below_max = static_cast<double>(ranked[0].first) - static_cast<double>(minus_logit);
    kept.push_back({id, std::exp(below_max / static_cast<double>(params.temperature))});
  }
  if (params.top_k > 0 && static_cast<size_t>(params.top_k) < kept.size()) {
    kept.resize(static_cast<size_t>(params.top_k));
  }
  Normalise(kept);
  const auto decide = [&](double value, double threshold) {
    result.margin = std::min(result.margin, std::abs(value - threshold) / threshold);
    return value >= threshold;
  };
  if (params.top_p < 1) {
    double sum = 0;
    size_t n = 0;
    while (n < kept.size()) {
      sum += kept[n++].probability;
      if (decide(sum, static_cast<double>(params.top_p))) break;
    }
    kept.resize(n);
    Normalise(kept);
  }
  if (params.min_p > 0) {
    size_t n = 1;
    while (n < kept.size() && decide(kept[n].probability / kept[0].probability, static_cast<double>(params.min_p))) ++n;
    kept.resize(n);
    Normalise(kept);
  }
  return result;
}

}  // namespace longhaul
