#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace longhaul::loadgen {

// "500ms", "1.5s", "2m", "1h", "250us" -> seconds, 0 or more. The unit must be there.
absl::StatusOr<double> ParseDuration(std::string_view text);

// 3 significant digits: "0.482 ms", "93.1 ms", "1.25 s"; "-" where it is infinite.
std::string DurationText(double seconds);

}  // namespace longhaul::loadgen
