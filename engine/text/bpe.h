#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "engine/base/token.h"

namespace longhaul {

// Byte-pair merges over token ids. Immutable after Create: any thread may call.
class Bpe {
 public:
  // `tokens` in the byte alphabet, `merges` as "left right" by rank; `unknown` (or -1) stands for bytes without a
  // token. INVALID_ARGUMENT naming tokenizer.ggml.merges when a merge is malformed or speaks of unknown tokens.
  absl::Status Create(const std::vector<std::string>& tokens, const std::vector<std::string>& merges);

  // Appends the ids of one piece: its bytes, merged by lowest rank, leftmost first. `whole_first`: a piece that is a
  // token is taken as it is. A byte that no token stands for is left out, as Hugging Face's tokenizers do. O(n log n).
  void Encode(std::string_view piece, bool whole_first, std::vector<TokenId>& ids) const;

 private:
  struct Merge {
    int32_t rank;
    TokenId merged;
  };
  const Merge* Find(TokenId left, TokenId right) const {
    const auto found = merges_.find(static_cast<uint64_t>(left) << 32 | static_cast<uint32_t>(right));
    return found == merges_.end() ? nullptr : &found->second;
  }

  TokenId byte_ids_[256];                            // -1: no token
  absl::flat_hash_map<uint64_t, Merge> merges_;      // by left << 32 | right
  absl::flat_hash_map<std::string, TokenId> whole_;  // tokens by their bytes
};

}  // namespace longhaul
