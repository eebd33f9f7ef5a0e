#include "engine/text/text_windows.h"

#include <algorithm>
#include <iterator>

namespace longhaul {

int64_t NumWindows(int64_t n_tokens, int64_t window, int64_t overlap) {
  if (n_tokens <= window) return n_tokens > 0 ? 1 : 0;
  const int64_t stride = window - overlap;
  return 1 + (n_tokens - window + stride - 1) / stride;
}

std::vector<int64_t> TokenEnds(const Tokenizer& tokenizer, std::string_view text, std::span<const TokenId> ids) {
  std::vector<int64_t> ends;
  ends.reserve(ids.size());
  size_t at = 0;
  for (TokenId id : ids) {
    for (char byte : tokenizer.TokenBytes(id)) {
      // Skips bytes that the tokenizer left out.
      while (at < text.size() && text[at] != byte) ++at;
      at = std::min(at + 1, text.size());
    }
    ends.push_back(static_cast<int64_t>(at));
  }
  if (!ends.empty()) ends.back() = std::ssize(text);
  return ends;
}

std::vector<TextWindow> CutIntoWindows(const Tokenizer& tokenizer, std::string_view text, std::span<const TokenId> ids,
                                       int64_t window, int64_t overlap) {
  const std::vector<int64_t> ends = TokenEnds(tokenizer, text, ids);
  const auto end_before = [&](int64_t token) { return token == 0 ? 0 : ends[static_cast<size_t>(token - 1)]; };
  std::vector<TextWindow> windows;
  const int64_t n_tokens = std::ssize(ids), n_windows = NumWindows(n_tokens, window, overlap);
  for (int64_t i = 0; i < n_windows; ++i) {
    TextWindow cut;
    cut.first_token = i * (window - overlap);
    cut.n_tokens = std::min(window, n_tokens - cut.first_token);
    cut.first_byte = end_before(cut.first_token);
    cut.n_bytes = end_before(cut.first_token + cut.n_tokens) - cut.first_byte;
    windows.push_back(cut);
  }
  return windows;
}

}  // namespace longhaul
