#include "client/evaluation/repeated_text.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/base/status_macros.h"

namespace longhaul {

absl::Status RepeatedText::CheckLength(int64_t length) const {
  if (length >= 2 * period_) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("--lengths: ", length, " is not allowed with --period ", period_,
                                                 ": the second copy must fit, at least ", 2 * period_));
}

std::vector<Repetition> RepeatedText::Repetitions() const {
  std::vector<Repetition> samples;
  for (const int64_t end : spans_) samples.push_back({.span_end = end});
  return samples;
}

absl::Status RepeatedText::Run(Client& client, const v1::PositionMode& position, const OnProgress& on_progress,
                               Measurement& done) const {
  std::vector<int32_t> tokens = text_.Before(done.sample.span_end, period_);
  tokens.reserve(static_cast<size_t>(done.length));
  while (static_cast<int64_t>(tokens.size()) < done.length) {
    tokens.push_back(tokens[tokens.size() - static_cast<size_t>(period_)]);
  }
  LH_ASSIGN_OR_RETURN(ScoredText scored, Score(client, tokens, position, 1, /*likeliest=*/true, on_progress, done));
  int64_t right_first = 0, right_later = 0;
  for (size_t i = 0; i < scored.likeliest.size(); ++i) {
    const size_t token = i + 1;
    const bool right = scored.likeliest[i] == tokens[token];
    done.hits += right ? '1' : '0';
    (static_cast<int64_t>(token) < period_ ? right_first : right_later) += right ? 1 : 0;
  }
  done.losses = std::move(scored.losses);
  done.first_copy = static_cast<double>(right_first) / static_cast<double>(period_ - 1);
  done.value = static_cast<double>(right_later) / static_cast<double>(done.length - period_);
  return absl::OkStatus();
}

std::string RepeatedText::Describe(const Measurement& done) const {
  return absl::StrFormat("%.1f %% right (first copy %.1f %%)", 100 * done.value, 100 * *done.first_copy);
}

}  // namespace longhaul
