#include "engine/backend/cpu/logit_decoder.h"

#include <algorithm>
#include <atomic>
#include <deque>
#include <limits>

#include "engine/decoding/log_softmax.h"
#include "engine/decoding/sampler.h"

namespace longhaul::cpu {
namespace {

// Tokens of the vocabulary that one piece of a merge takes.
constexpr size_t kRange = 4096;

TokenScore Score(std::span<const float> logits, TokenId target, int top_scores) {
  const float log_sum_exp = LogSumExp(logits);
  TokenScore score;
  score.logprob = LogProbability(logits[static_cast<size_t>(target)], log_sum_exp);
  if (top_scores > 0) score.top = TopLogprobs(logits, log_sum_exp, top_scores);
  return score;
}

}  // namespace

void LogitDecoder::Decode(const Batch& batch, const float* logits, int64_t width, StepResult& result) {
  const size_t vocabulary = static_cast<size_t>(width);
  struct Sampling {
    const float* logits;
    const SamplerInput* input;
    SamplerResult* result;
    NbceChoice* choice = nullptr;       // where `logits` are combined
    const float* group_rows = nullptr;  // of what
  };
  std::vector<Sampling> samplings;
  std::vector<Combination> combinations;
  int64_t logit_row = 0;
  size_t n_combined_rows = 0;
  for (size_t g = 0; g < batch.groups.size(); ++g) {
    const BatchGroup& group = batch.groups[g];
    const float* const first = logits + logit_row * width;
    for (int r = group.first_row; r < group.first_row + group.n_rows; ++r) {
      const BatchRow& row = batch.rows[static_cast<size_t>(r)];
      logit_row += row.n_new - row.first_logit;
    }
    if (group.sampler == nullptr) continue;
    samplings.push_back({first, group.sampler, &result.groups[g]});
    if (group.nbce == nullptr) continue;
    const size_t n_rows = static_cast<size_t>(group.n_rows);
    combinations.push_back({g, {first, n_rows, vocabulary, vocabulary}, group.nbce, n_combined_rows, nullptr});
    n_combined_rows += n_rows;
  }
  if (!combinations.empty()) {
    rows_.resize(n_combined_rows);
    float* next = combined_.AtLeast(static_cast<int64_t>(combinations.size()) * width);
    for (Combination& combination : combinations) {
      combination.combined = next;
      next += width;
    }
    Combine(combinations, result);
    for (const Combination& combination : combinations) {
      const auto sampling = std::find_if(samplings.begin(), samplings.end(), [&](const Sampling& s) {
        return s.result == &result.groups[combination.group];
      });
      sampling->logits = combination.combined;
      sampling->choice = &result.choices[combination.group];
      sampling->group_rows = combination.logits.data;
    }
  }

  const auto is_scored = [](TokenId target) { return target >= 0; };
  std::vector<size_t> scored;  // logit rows
  for (size_t row = 0; row < batch.targets.size(); ++row) {
    if (is_scored(batch.targets[row])) scored.push_back(row);
  }
  result.scores.resize(scored.size());
  pool_.ParallelFor(static_cast<int64_t>(samplings.size() + scored.size()), [&](int64_t i, int) {
    const size_t task = static_cast<size_t>(i);
    if (task < samplings.size()) {
      const Sampling& sampling = samplings[task];
      *sampling.result = Sample({sampling.logits, vocabulary}, *sampling.input);
      if (sampling.result->id >= 0 || sampling.choice == nullptr || sampling.choice->row < 0) return;
      // All that was kept is forbidden, as where the end alone is left and may not be drawn: the surest row speaks.
      sampling.choice->fell_back = true;
      const float* const row = sampling.group_rows + static_cast<size_t>(sampling.choice->row) * vocabulary;
      *sampling.result = Sample({row, vocabulary}, *sampling.input);
      return;
    }
    const size_t row = scored[task - samplings.size()];
    result.scores[task - samplings.size()] =
        Score({logits + row * vocabulary, vocabulary}, batch.targets[row], batch.top_scores);
  });
}

void LogitDecoder::Combine(std::vector<Combination>& combinations, StepResult& result) {
  struct Row {
    const Combination* combination;
    size_t index;
  };
  std::vector<Row> rows;
  for (const Combination& combination : combinations) {
    for (size_t i = 0; i < combination.logits.n_rows; ++i) rows.push_back({&combination, i});
  }
  pool_.ParallelFor(static_cast<int64_t>(rows.size()), [&](int64_t i, int) {
    const auto& [combination, index] = rows[static_cast<size_t>(i)];
    rows_[combination->first_row + index] =
        ReadNbceRow(combination->logits.row(index), combination->input->params.top_p);
  });
  for (const Combination& combination : combinations) {
    const std::span<const NbceRow> of_group(rows_.data() + combination.first_row, combination.logits.n_rows);
    NbceChoice& choice = result.choices[combination.group];
    choice.row = ChooseNbceRow(of_group, combination.input->params.eta, combination.input->previous);
    choice.entropies.reserve(of_group.size());
    for (const NbceRow& row : of_group) {
      choice.entropies.push_back(row.usable ? row.entropy : std::numeric_limits<float>::quiet_NaN());
    }
  }
  Merge(combinations, /*fall_back=*/false, result);
  bool any_fell_back = false;
  for (const Combination& combination : combinations) {
    NbceChoice& choice = result.choices[combination.group];
    choice.fell_back = combination.all_dropped && choice.row > 0;
    any_fell_back = any_fell_back || choice.fell_back;
  }
  if (any_fell_back) Merge(combinations, /*fall_back=*/true, result);
}

void LogitDecoder::Merge(std::vector<Combination>& combinations, bool fall_back, const StepResult& result) {
  const size_t vocabulary = combinations.front().logits.vocabulary;
  const size_t n_ranges = (vocabulary + kRange - 1) / kRange;
  // Atomics do not move: a deque of its own.
  std::deque<std::atomic<bool>> keeps_some(combinations.size());
  pool_.ParallelFor(static_cast<int64_t>(combinations.size() * n_ranges), [&](int64_t i, int) {
    const size_t index = static_cast<size_t>(i) / n_ranges;
    const Combination& combination = combinations[index];
    const NbceChoice& choice = result.choices[combination.group];
    if (fall_back && !choice.fell_back) return;
    const NbceParams& params = combination.input->params;
    const size_t begin = static_cast<size_t>(i) % n_ranges * kRange;
    if (MergeNbce(combination.logits, {rows_.data() + combination.first_row, combination.logits.n_rows}, params.beta,
                  fall_back ? NbcePooling::kMinEntropy : params.pooling, choice.row, begin,
                  std::min(begin + kRange, vocabulary), combination.combined)) {
      keeps_some[index].store(true, std::memory_order_relaxed);
    }
  });
  for (size_t i = 0; i < combinations.size(); ++i) combinations[i].all_dropped = !keeps_some[i].load();
}

}  // namespace longhaul::cpu
