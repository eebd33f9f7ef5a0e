#include "client/evaluation/tail_loss.h"

#include <numeric>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/base/status_macros.h"

namespace longhaul {

absl::Status TailLoss::CheckLength(int64_t length) const {
  if (length > score_tokens_) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("--lengths: ", length, " is not allowed with --score-tokens ",
                                                 score_tokens_,
                                                 ": each scored token needs one before it, so a length must be more"));
}

std::vector<Repetition> TailLoss::Repetitions() const {
  std::vector<Repetition> samples;
  for (const int64_t end : spans_) samples.push_back({.span_end = end});
  return samples;
}

absl::Status TailLoss::Run(Client& client, const v1::PositionMode& position, const OnProgress& on_progress,
                           Measurement& done) const {
  LH_ASSIGN_OR_RETURN(ScoredText scored, Score(client, text_.Before(done.sample.span_end, done.length), position,
                                               done.length - score_tokens_, /*likeliest=*/false, on_progress, done));
  done.value =
      std::accumulate(scored.losses.begin(), scored.losses.end(), 0.0) / static_cast<double>(scored.losses.size());
  done.losses = std::move(scored.losses);
  return absl::OkStatus();
}

std::string TailLoss::Describe(const Measurement& done) const {
  return absl::StrFormat("%.4f nat per token", done.value);
}

}  // namespace longhaul
