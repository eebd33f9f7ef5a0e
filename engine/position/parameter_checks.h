#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"

// Refusals of a position mode's parameters: INVALID_ARGUMENT naming the field as on the wire, the value and what is
// allowed. `field` is below the request's `position`: "rerope.window".
namespace longhaul {

absl::Status Refusal(const char* field, double value, const std::string& allowed);
absl::Status Refusal(const char* field, int64_t value, const std::string& allowed);

// A finite number above `bound`.
absl::Status CheckAbove(const char* field, double value, double bound, const char* bound_name);

// least <= value <= most.
absl::Status CheckRange(const char* field, double value, double least, double most);

// A trained length: at least 2, or 0 for `otherwise`.
absl::Status CheckLength(const char* field, int64_t length, const char* otherwise);

// 1 or more, or 0 to be fitted.
absl::Status CheckCount(const char* field, int64_t value);

}  // namespace longhaul
