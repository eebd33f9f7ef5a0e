#include "client/evaluation/spans.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace longhaul {

absl::StatusOr<std::vector<int64_t>> ChooseSpans(int64_t n_tokens, int64_t n_spans, int64_t longest) {
  if (n_spans < 1) return absl::InvalidArgumentError(absl::StrCat("--spans: ", n_spans, " is not allowed; at least 1"));
  if (n_tokens / n_spans < longest) {
    const int64_t most = n_tokens / longest;
    return absl::InvalidArgumentError(absl::StrCat(
        "--spans: ", n_spans, " spans of ", longest, " tokens need a text of ", n_spans * longest,
        " tokens, --text has ", n_tokens,
        most > 0 ? absl::StrCat("; at most ", most, " spans fit") : "; take a longer text or shorter lengths"));
  }
  std::vector<int64_t> ends;
  for (int64_t s = 1; s <= n_spans; ++s) ends.push_back(n_tokens * s / n_spans);
  return ends;
}

bool Nested(const std::vector<int64_t>& a, const std::vector<int64_t>& b) {
  return a.size() <= b.size() ? std::includes(b.begin(), b.end(), a.begin(), a.end())
                              : std::includes(a.begin(), a.end(), b.begin(), b.end());
}

}  // namespace longhaul
