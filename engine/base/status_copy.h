#pragma once

#include "absl/status/status.h"
#include "absl/strings/cord.h"
#include "absl/strings/string_view.h"

namespace longhaul {

// A copy that shares nothing with `status`, for another thread. Plain copies share a counted object, and the counting
// of the distribution's Abseil, which is not instrumented, looks like a race to the thread sanitizer.
inline absl::Status UnsharedCopy(const absl::Status& status) {
  absl::Status copy(status.code(), status.message());
  status.ForEachPayload([&](absl::string_view url, const absl::Cord& payload) { copy.SetPayload(url, payload); });
  return copy;
}

}  // namespace longhaul
