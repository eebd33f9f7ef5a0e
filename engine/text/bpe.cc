#include "engine/text/bpe.h"

#include <queue>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/quoted.h"
#include "engine/base/strings.h"
#include "engine/text/byte_alphabet.h"

namespace longhaul {

absl::Status Bpe::Create(const std::vector<std::string>& tokens, const std::vector<std::string>& merges) {
  absl::flat_hash_map<absl::string_view, TokenId> ids;
  ids.reserve(tokens.size());
  for (size_t i = 0; i < tokens.size(); ++i) ids.emplace(ToAbsl(tokens[i]), static_cast<TokenId>(i));
  for (int byte = 0; byte < 256; ++byte) {
    const auto found = ids.find(ToAbsl(CharacterOfByte(static_cast<unsigned char>(byte))));
    byte_ids_[byte] = found == ids.end() ? -1 : found->second;
  }
  merges_.reserve(merges.size());
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const std::string_view merge = merges[rank];
    // A token may itself begin with the separating space.
    const size_t space = merge.find(' ', 1);
    if (space == std::string_view::npos || space + 1 == merge.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("tokenizer.ggml.merges[", rank, "] is ", Quoted(merge), ", expected two tokens and a space"));
    }
    const std::string_view left = merge.substr(0, space), right = merge.substr(space + 1);
    const std::string merged = absl::StrCat(ToAbsl(left), ToAbsl(right));
    TokenId of[3];
    const std::string_view names[3] = {left, right, merged};
    for (int i = 0; i < 3; ++i) {
      const auto found = ids.find(ToAbsl(names[i]));
      if (found == ids.end()) {
        return absl::InvalidArgumentError(absl::StrCat("tokenizer.ggml.merges[", rank, "] is ", Quoted(merge),
                                                       ", but the vocabulary has no token ", Quoted(names[i])));
      }
      of[i] = found->second;
    }
    merges_.emplace(static_cast<uint64_t>(of[0]) << 32 | static_cast<uint32_t>(of[1]),
                    Merge{static_cast<int32_t>(rank), of[2]});
  }
  whole_.reserve(tokens.size());
  for (size_t i = 0; i < tokens.size(); ++i) whole_.emplace(BytesOfToken(tokens[i]), static_cast<TokenId>(i));
  return absl::OkStatus();
}

void Bpe::Encode(std::string_view piece, bool whole_first, std::vector<TokenId>& ids) const {
  if (whole_first) {
    if (const auto found = whole_.find(ToAbsl(piece)); found != whole_.end()) {
      ids.push_back(found->second);
      return;
    }
  }
  struct Symbol {
    TokenId id;  // -1: merged into its left neighbour
    int64_t previous, next;
  };
  std::vector<Symbol> symbols;
  symbols.reserve(piece.size());
  for (const char character : piece) {
    const TokenId id = byte_ids_[static_cast<unsigned char>(character)];
    const int64_t i = std::ssize(symbols);
    if (id >= 0) symbols.push_back({id, i - 1, i + 1});
  }
  const int64_t n = std::ssize(symbols);
  if (n == 0) return;
  symbols.back().next = -1;
  const auto at = [&](int64_t i) -> Symbol& { return symbols[static_cast<size_t>(i)]; };

  // Candidates by rank, then by place; one whose tokens have changed since is out of date.
  struct Candidate {
    int32_t rank;
    int64_t left;
    TokenId left_id, right_id, merged;
    bool operator>(const Candidate& other) const { return rank != other.rank ? rank > other.rank : left > other.left; }
  };
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> candidates;
  const auto consider = [&](int64_t left) {
    if (left < 0 || at(left).next < 0) return;
    const TokenId left_id = at(left).id, right_id = at(at(left).next).id;
    if (const Merge* merge = Find(left_id, right_id)) {
      candidates.push({merge->rank, left, left_id, right_id, merge->merged});
    }
  };
  for (int64_t i = 0; i + 1 < n; ++i) consider(i);
  while (!candidates.empty()) {
    const Candidate best = candidates.top();
    candidates.pop();
    Symbol& left = at(best.left);
    if (left.id != best.left_id || left.next < 0 || at(left.next).id != best.right_id) continue;
    Symbol& right = at(left.next);
    left.id = best.merged;
    right.id = -1;
    left.next = right.next;
    if (left.next >= 0) at(left.next).previous = best.left;
    consider(left.previous);
    consider(best.left);
  }
  for (int64_t i = 0; i >= 0; i = at(i).next) ids.push_back(at(i).id);
}

}  // namespace longhaul
