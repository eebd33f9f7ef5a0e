#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace longhaul {

// Where the spans of a text end: span s of S (1..S) ends before token floor(n s / S), so the last one at the text's
// end, and spans of up to n / S tokens do not overlap. The ends do not depend on the lengths that are read before them,
// and the spans of S are among those of every multiple of S: runs with --spans 1 and --spans 3 share the last span.
// INVALID_ARGUMENT when `longest` tokens do not fit before the first end.
absl::StatusOr<std::vector<int64_t>> ChooseSpans(int64_t n_tokens, int64_t n_spans, int64_t longest);

// Whether one of two sets of ends, both ascending, holds all of the other: only then are their spans apart.
bool Nested(const std::vector<int64_t>& a, const std::vector<int64_t>& b);

}  // namespace longhaul
