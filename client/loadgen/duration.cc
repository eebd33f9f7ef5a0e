#include "client/loadgen/duration.h"

#include <array>
#include <cmath>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/base/decimal.h"

namespace longhaul::loadgen {

absl::StatusOr<double> ParseDuration(std::string_view text) {
  // "ms" before "m" and "s", which it holds.
  constexpr std::array<std::pair<std::string_view, double>, 5> kUnits = {
      {{"us", 1e-6}, {"ms", 1e-3}, {"s", 1}, {"m", 60}, {"h", 3600}}};
  for (const auto& [unit, seconds] : kUnits) {
    if (!text.ends_with(unit)) continue;
    const std::string number(text.substr(0, text.size() - unit.size()));
    double value = 0;
    if (ParseDecimal(number, value) && std::isfinite(value) && value >= 0) return value * seconds;
    break;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("'", std::string(text), "' is no time; it is a number with us, ms, s, m or h, as in 500ms"));
}

std::string DurationText(double seconds) {
  if (!std::isfinite(seconds)) return "-";
  if (seconds == 0) return "0 s";
  const bool in_seconds = seconds >= 0.9995;
  const double value = in_seconds ? seconds : seconds * 1e3;
  const int digits = value >= 99.95 ? 0 : value >= 9.995 ? 1 : value >= 0.9995 ? 2 : 3;
  return absl::StrFormat("%.*f %s", digits, value, in_seconds ? "s" : "ms");
}

}  // namespace longhaul::loadgen
