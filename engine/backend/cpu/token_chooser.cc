#include "engine/backend/cpu/token_chooser.h"

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

TokenScore Score(std::span<const float> logits, TokenId target, int32_t top_scores) {
  const float log_sum_exp = LogSumExp(logits);
  TokenScore score;
  score.logprob = LogProbability(logits[static_cast<size_t>(target)], log_sum_exp);
  if (top_scores > 0) score.top = TopLogprobs(logits, log_sum_exp, top_scores);
  return score;
}

}  // namespace

void TokenChooser::Choose(const Batch& batch, const float* logits, int64_t width,
                          const std::vector<GroupResult>& before, StepResult& result) {
  struct Scoring {
    const float* logits;
    TokenId target;
    int32_t top_scores;
    TokenScore* score;
  };
  const size_t vocabulary = static_cast<size_t>(width);
  std::vector<Drawing> drawings;
  std::vector<Merging> mergings;
  std::vector<Scoring> scorings;
  size_t n_merged_rows = 0;
  mergings.reserve(batch.groups.size());  // drawings refer to them
  for (size_t g = 0; g < batch.groups.size(); ++g) {
    const BatchGroup& group = batch.groups[g];
    GroupResult& made = result.groups[g];
    const float* const scored = logits + group.first_wanted * width;
    made.scores.resize(static_cast<size_t>(group.n_scored));
    for (size_t i = 0; i < made.scores.size(); ++i) {
      scorings.push_back({scored + i * vocabulary, batch.Scored(group)[i].target, group.top_scores, &made.scores[i]});
    }
    if (!group.draw.has_value()) continue;
    const BatchDraw& draw = *group.draw;
    const float* const drawn_from = scored + group.n_scored * width;
    // Penalties count what the step before drew, which the maker of the batch had not seen.
    const BatchRow& row = batch.rows[static_cast<size_t>(group.first_row)];
    const TokenId last = batch.tokens[static_cast<size_t>(row.first_token + row.n_new - 1)];
    const GroupResult* const drawer = IsDrawn(last) ? &before[static_cast<size_t>(DrawingGroup(last))] : nullptr;
    drawings.push_back(
        {batch.SamplerInputOf(draw, drawer != nullptr ? drawer->drawn.id : -1), {drawn_from, vocabulary}, &made.drawn});
    if (!draw.merge.has_value()) continue;
    const size_t n_rows = static_cast<size_t>(group.n_rows);
    mergings.push_back({.policy = &*draw.merge,
                        .logits = {drawn_from, n_rows, vocabulary, vocabulary},
                        .previous = drawer != nullptr ? drawer->choice.row : draw.previous,
                        .first_row = n_merged_rows,
                        .merged = nullptr,
                        .choice = &made.choice});
    drawings.back().merging = &mergings.back();
    n_merged_rows += n_rows;
  }
  if (!mergings.empty()) {
    rows_.resize(n_merged_rows);
    float* next = merged_.AtLeast(static_cast<int64_t>(mergings.size()) * width);
    for (Merging& merging : mergings) {
      merging.merged = next;
      next += width;
    }
    Combine(mergings);
    for (Drawing& drawing : drawings) {
      if (drawing.merging != nullptr) drawing.logits = LogitsOf(*drawing.merging);
    }
  }
  pool_.ParallelFor(static_cast<int64_t>(drawings.size() + scorings.size()), [&](int64_t i, int) {
    const size_t task = static_cast<size_t>(i);
    if (task < drawings.size()) return Draw(drawings[task]);
    const Scoring& scoring = scorings[task - drawings.size()];
    *scoring.score = Score({scoring.logits, vocabulary}, scoring.target, scoring.top_scores);
  });
}

// Runs on a worker; writes only the memory of its own group.
void TokenChooser::Draw(Drawing& drawing) {
  *drawing.drawn = SampleToken(drawing.logits, drawing.input);
  Merging* const merging = drawing.merging;
  while (drawing.drawn->id < 0 && merging != nullptr && merging->choice->row >= 0 && !merging->gave_up) {
    const auto next = NextSource(*merging->policy, merging->source, MergeOutcome::kNothingDrawn);
    if (!next.has_value()) return;
    merging->source = *next;
    merging->choice->fell_back = true;
    if (*next == MergeSource::kMinEntropy) MergeRange(*merging, 0, merging->logits.vocabulary);
    *drawing.drawn = SampleToken(LogitsOf(*merging), drawing.input);
  }
}

std::span<const float> TokenChooser::LogitsOf(const Merging& merging) {
  if (merging.source == MergeSource::kChosenRow) return merging.logits.row(static_cast<size_t>(merging.choice->row));
  return {merging.merged, merging.logits.vocabulary};
}

bool TokenChooser::MergeRange(const Merging& merging, size_t begin, size_t end) const {
  const NbceParams& params = merging.policy->params;
  const NbcePooling pooling = merging.source == MergeSource::kMinEntropy ? NbcePooling::kMinEntropy : params.pooling;
  return MergeNbce(merging.logits, {rows_.data() + merging.first_row, merging.logits.n_rows}, params.beta, pooling,
                   merging.choice->row, begin, end, merging.merged);
}

void TokenChooser::Combine(std::vector<Merging>& mergings) {
  struct Row {
    const Merging* merging;
    size_t index;
  };
  std::vector<Row> rows;
  for (const Merging& merging : mergings) {
    for (size_t i = 0; i < merging.logits.n_rows; ++i) rows.push_back({&merging, i});
  }
  pool_.ParallelFor(static_cast<int64_t>(rows.size()), [&](int64_t i, int) {
    const auto& [merging, index] = rows[static_cast<size_t>(i)];
    rows_[merging->first_row + index] = ReadNbceRow(merging->logits.row(index), merging->policy->params.top_p);
  });
  for (const Merging& merging : mergings) {
    const std::span<const NbceRow> of_group(rows_.data() + merging.first_row, merging.logits.n_rows);
    MergeChoice& choice = *merging.choice;
    choice.row = ChooseNbceRow(of_group, merging.policy->params.eta, merging.previous);
    choice.entropies.reserve(of_group.size());
    for (const NbceRow& row : of_group) {
      choice.entropies.push_back(row.usable ? row.entropy : std::numeric_limits<float>::quiet_NaN());
    }
  }
  Merge(mergings, MergeSource::kMerged);
  bool any_again = false;
  for (Merging& merging : mergings) {
    if (!merging.nothing_left || merging.choice->row < 0) continue;
    const auto next = NextSource(*merging.policy, merging.source, MergeOutcome::kNothingLeft);
    merging.gave_up = !next.has_value();
    if (merging.gave_up) continue;
    merging.source = *next;
    merging.choice->fell_back = true;
    any_again = any_again || *next == MergeSource::kMinEntropy;
  }
  if (any_again) Merge(mergings, MergeSource::kMinEntropy);
}

void TokenChooser::Merge(std::vector<Merging>& mergings, MergeSource source) {
  const size_t vocabulary = mergings.front().logits.vocabulary;
  const size_t n_ranges = (vocabulary + kRange - 1) / kRange;
  // A deque, because atomics cannot be moved.
  std::deque<std::atomic<bool>> keeps_some(mergings.size());
  pool_.ParallelFor(static_cast<int64_t>(mergings.size() * n_ranges), [&](int64_t i, int) {
    const size_t index = static_cast<size_t>(i) / n_ranges;
    const Merging& merging = mergings[index];
    if (merging.source != source) return;
    const size_t begin = static_cast<size_t>(i) % n_ranges * kRange;
    if (MergeRange(merging, begin, std::min(begin + kRange, vocabulary))) {
      keeps_some[index].store(true, std::memory_order_relaxed);
    }
  });
  for (size_t i = 0; i < mergings.size(); ++i) mergings[i].nothing_left = !keeps_some[i].load();
}

}  // namespace longhaul::cpu
