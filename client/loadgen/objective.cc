#include "client/loadgen/objective.h"

#include <array>
#include <optional>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/loadgen/duration.h"
#include "engine/base/decimal.h"
#include "engine/base/status_macros.h"

namespace longhaul::loadgen {
namespace {

absl::StatusOr<double> ParseShare(const std::string& text) {
  double percent = 0;
  const bool is_percent = text.ends_with('%');
  if (is_percent && ParseDecimal(text.substr(0, text.size() - 1), percent) && percent >= 0 && percent <= 100) {
    return percent / 100;
  }
  return absl::InvalidArgumentError(absl::StrCat("'", text, "' is no share, 0% to 100%"));
}

// "p99.9", "max"
std::optional<double> ParsePercentile(const std::string& text) {
  if (text == "max") return 100;
  double percent = 0;
  if (!text.starts_with('p') || !ParseDecimal(text.substr(1), percent)) return std::nullopt;
  if (!(percent > 0 && percent <= 100)) return std::nullopt;
  return percent;
}

absl::StatusOr<Objective> ParseObjective(const std::string& piece) {
  using Metric = Objective::Metric;
  constexpr std::array<std::pair<std::string_view, Metric>, 4> kMetrics = {{{"ttft", Metric::kTimeToFirstToken},
                                                                            {"itl", Metric::kInterTokenLatency},
                                                                            {"tpot", Metric::kTimePerOutputToken},
                                                                            {"e2e", Metric::kEndToEnd}}};
  const std::pair<std::string, std::string> sides = absl::StrSplit(piece, absl::MaxSplits('=', 1));
  Objective objective;
  objective.name = sides.first;
  if (sides.first == "error_rate") {
    objective.metric = Metric::kErrorRate;
    LH_ASSIGN_OR_RETURN(objective.bound, ParseShare(sides.second));
    return objective;
  }
  const std::pair<std::string, std::string> name = absl::StrSplit(sides.first, absl::MaxSplits('_', 1));
  for (const auto& [metric_name, metric] : kMetrics) {
    const std::optional<double> percent = ParsePercentile(name.second);
    if (metric_name != name.first || !percent.has_value()) continue;
    objective.metric = metric;
    objective.percent = *percent;
    LH_ASSIGN_OR_RETURN(objective.bound, ParseDuration(sides.second));
    return objective;
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "'", piece,
      "' is no objective; they are ttft, itl, tpot or e2e with _p50, _p99.9, _max and a time, and error_rate, "
      "as in ttft_p99=500ms,error_rate=1%"));
}

}  // namespace

absl::StatusOr<std::vector<Objective>> ParseObjectives(std::string_view text) {
  std::vector<Objective> objectives;
  for (const std::string& piece : std::vector<std::string>(absl::StrSplit(std::string(text), ',', absl::SkipEmpty()))) {
    LH_ASSIGN_OR_RETURN(objectives.emplace_back(), ParseObjective(piece));
  }
  return objectives;
}

}  // namespace longhaul::loadgen
