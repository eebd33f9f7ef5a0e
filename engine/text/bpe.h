#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "engine/base/stop_condition.h"
#include "engine/base/token.h"
#include "engine/text/vocabulary.h"

namespace longhaul {

// Byte-pair merges over token ids: the bytes of a piece, joined two by two by the merge of the lowest rank, leftmost
// first. Immutable after Create: any thread may call.
class Bpe {
 public:
  // Tokens for which `special` holds are never the result of a merge and stand for no byte, so that no text becomes
  // one. INVALID_ARGUMENT, naming the key, when a token occurs twice or a merge is malformed or names unknown tokens.
  absl::Status Create(const Vocabulary& vocabulary, const std::function<bool(TokenId)>& special);

  // Working memory of Encode, reused for many pieces.
  struct Scratch {
    std::vector<TokenId> id;    // [bytes of the piece]; -1 once merged into its left neighbour
    std::vector<int32_t> rank;  // of the merge with the right neighbour
    std::vector<int32_t> previous, next;
    std::vector<uint64_t> heap;  // rank << 32 | place of the left token; not for huge pieces
  };

  // Appends the ids of a piece, in O(n log n); false, with nothing appended, when `poll` stopped it. A byte that no
  // token stands for is left out, as Hugging Face does. REQUIRES: piece.size() < 2^31.
  bool Encode(std::string_view piece, StopPoll& poll, Scratch& scratch, std::vector<TokenId>& ids) const;

 private:
  static constexpr int32_t kNoMerge = INT32_MAX;
  struct Merge {
    int32_t rank = kNoMerge;
    TokenId merged = -1;
  };
  Merge Find(TokenId left, TokenId right) const {
    const auto found = merges_.find(static_cast<uint64_t>(left) << 32 | static_cast<uint32_t>(right));
    return found == merges_.end() ? Merge() : found->second;
  }
  void MergeShort(Scratch& scratch) const;
  // Queue: yields (rank, place), lowest first. False when stopped.
  template <typename Queue>
  bool MergeLong(Queue queue, StopPoll& poll, Scratch& scratch) const;

  std::array<TokenId, 256> byte_ids_;            // -1: no token
  absl::flat_hash_map<uint64_t, Merge> merges_;  // by left << 32 | right
};

}  // namespace longhaul
