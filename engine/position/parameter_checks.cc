#include "engine/position/parameter_checks.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/base/field_error.h"

namespace longhaul {
namespace {

std::string Shown(double number) {
  return absl::StrFormat("%.15g", number);  // 0.999999999 is not 1
}

std::string PathOf(const char* field) {
  return absl::StrCat("position.", field);
}

}  // namespace

absl::Status Refusal(const char* field, double value, const std::string& allowed) {
  return NotAllowed(PathOf(field), Shown(value), allowed);
}

absl::Status Refusal(const char* field, int64_t value, const std::string& allowed) {
  return NotAllowed(PathOf(field), value, allowed);
}

// NaN lies outside of every range.
absl::Status CheckAbove(const char* field, double value, double bound, const char* bound_name) {
  if (value > bound && std::isfinite(value)) return absl::OkStatus();
  return Refusal(field, value, absl::StrCat("a finite number above ", bound_name));
}

absl::Status CheckRange(const char* field, double value, double least, double most) {
  if (value >= least && value <= most) return absl::OkStatus();
  return Refusal(field, value, absl::StrCat(Shown(least), " to ", Shown(most)));
}

absl::Status CheckLength(const char* field, int64_t length, const char* otherwise) {
  if (length == 0 || length >= 2) return absl::OkStatus();
  return Refusal(field, length, absl::StrCat("at least 2, or 0 for ", otherwise));
}

absl::Status CheckCount(const char* field, int64_t value) {
  if (value >= 0) return absl::OkStatus();
  return Refusal(field, value, "at least 1, or 0 to be fitted");
}

}  // namespace longhaul
