#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "engine/base/token.h"
#include "engine/text/tokenizer.h"

namespace longhaul {

// A range of a text between token borders.
struct TextWindow {
  int64_t first_token = 0, n_tokens = 0;
  int64_t first_byte = 0, n_bytes = 0;  // may begin or end inside a character, as tokens may
};

// How many windows CutIntoWindows makes. REQUIRES: as there.
int64_t NumWindows(int64_t n_tokens, int64_t window, int64_t overlap);

// Where each token of a text ends, in bytes: token i is of the bytes ends[i - 1] (0 for the first) to ends[i]. Bytes
// that have no token belong to the token after them, those at the end to the last. REQUIRES: `ids` are what
// tokenizer.Encode(text) gives without BOS and special tokens.
std::vector<int64_t> TokenEnds(const Tokenizer& tokenizer, std::string_view text, std::span<const TokenId> ids);

// Cuts a text, of which `ids` are the tokens, into windows of `window` tokens that begin window - overlap tokens apart;
// the last ends with the text and may be shorter. Together they hold every byte; none when there is no token. REQUIRES:
// 0 <= overlap < window, `ids` as for TokenEnds.
std::vector<TextWindow> CutIntoWindows(const Tokenizer& tokenizer, std::string_view text, std::span<const TokenId> ids,
                                       int64_t window, int64_t overlap);

}  // namespace longhaul
