#include "engine/text/bpe.h"

#include <algorithm>
#include <cstddef>
#include <functional>

#include "absl/strings/str_cat.h"
#include "engine/base/quoted.h"
#include "engine/base/strings.h"
#include "engine/text/byte_alphabet.h"
#include "engine/text/rank_queue.h"
#include "engine/text/reserved_map.h"

namespace longhaul {
namespace {

// Up to this length a scan for the lowest rank is faster than a heap.
constexpr size_t kShortPiece = 32;
// From this length on a heap of all places is slower than RankQueue.
constexpr size_t kHugePiece = 1 << 14;

// As RankQueue, but faster for fewer places.
class PlaceHeap {
 public:
  explicit PlaceHeap(std::vector<uint64_t>& heap) : heap_(heap) { heap_.clear(); }
  bool empty() const { return heap_.empty(); }
  void Push(int32_t rank, int32_t place) {
    heap_.push_back(static_cast<uint64_t>(rank) << 32 | static_cast<uint32_t>(place));
    std::push_heap(heap_.begin(), heap_.end(), std::greater<>());
  }
  RankQueue::Entry Pop() {
    const uint64_t entry = heap_.front();
    std::pop_heap(heap_.begin(), heap_.end(), std::greater<>());
    heap_.pop_back();
    return {static_cast<int32_t>(entry >> 32), static_cast<int32_t>(entry & UINT32_MAX)};
  }

 private:
  std::vector<uint64_t>& heap_;
};

}  // namespace

absl::Status Bpe::Create(const Vocabulary& vocabulary, const std::function<bool(TokenId)>& special) {
  const std::vector<std::string>&tokens = vocabulary.tokens, &merges = vocabulary.merges;
  auto ids = ReservedMap<absl::flat_hash_map<absl::string_view, TokenId>>(tokens.size());
  for (size_t i = 0; i < tokens.size(); ++i) {
    const auto [found, is_new] = ids.emplace(ToAbsl(tokens[i]), static_cast<TokenId>(i));
    if (!is_new) {
      return absl::InvalidArgumentError(absl::StrCat("tokenizer.ggml.tokens[", i, "] is ", Quoted(tokens[i]),
                                                     ", which is token ", found->second, " already"));
    }
  }
  for (size_t byte = 0; byte < byte_ids_.size(); ++byte) {
    const auto found = ids.find(ToAbsl(CharacterOfByte(static_cast<unsigned char>(byte))));
    byte_ids_[byte] = found == ids.end() || special(found->second) ? -1 : found->second;
  }

  merges_ = ReservedMap<decltype(merges_)>(merges.size());
  std::string joined;
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const std::string_view merge = merges[rank];
    const size_t space = merge.find(' ');
    if (space == std::string_view::npos || space == 0 || space + 1 == merge.size() ||
        merge.find(' ', space + 1) != std::string_view::npos) {
      return absl::InvalidArgumentError(
          absl::StrCat("tokenizer.ggml.merges[", rank, "] is ", Quoted(merge), ", expected two tokens and a space"));
    }
    const std::string_view left = merge.substr(0, space), right = merge.substr(space + 1);
    joined.assign(left).append(right);
    std::array<TokenId, 3> of;
    const std::array<std::string_view, 3> names = {left, right, joined};
    for (size_t i = 0; i < 3; ++i) {
      const auto found = ids.find(ToAbsl(names[i]));
      if (found == ids.end()) {
        return absl::InvalidArgumentError(absl::StrCat("tokenizer.ggml.merges[", rank, "] is ", Quoted(merge),
                                                       ", but the vocabulary has no token ", Quoted(names[i])));
      }
      of[i] = found->second;
    }
    if (special(of[2])) continue;
    merges_.emplace(static_cast<uint64_t>(of[0]) << 32 | static_cast<uint32_t>(of[1]),
                    Merge{static_cast<int32_t>(rank), of[2]});
  }
  return absl::OkStatus();
}

bool Bpe::Encode(std::string_view piece, StopPoll& poll, Scratch& scratch, std::vector<TokenId>& ids) const {
  if (poll.Stopped(piece.size())) return false;
  scratch.id.clear();
  for (const char character : piece) {
    const TokenId id = byte_ids_[static_cast<unsigned char>(character)];
    if (id >= 0) scratch.id.push_back(id);
  }
  if (scratch.id.size() <= kShortPiece) {
    MergeShort(scratch);
  } else if (scratch.id.size() < kHugePiece) {
    if (!MergeLong(PlaceHeap(scratch.heap), poll, scratch)) return false;
  } else {
    if (!MergeLong(RankQueue(), poll, scratch)) return false;
  }
  for (const TokenId id : scratch.id) {
    if (id >= 0) ids.push_back(id);
  }
  return true;
}

void Bpe::MergeShort(Scratch& scratch) const {
  size_t n = scratch.id.size();
  std::array<TokenId, kShortPiece> id;
  std::array<Merge, kShortPiece> merge;  // of each with its right neighbour
  std::copy(scratch.id.begin(), scratch.id.end(), id.begin());
  for (size_t i = 0; i + 1 < n; ++i) merge[i] = Find(id[i], id[i + 1]);
  while (n > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < n; ++i) {
      if (merge[i].rank < merge[best].rank) best = i;
    }
    if (merge[best].rank == kNoMerge) break;
    id[best] = merge[best].merged;
    for (size_t i = best + 1; i + 1 < n; ++i) {
      id[i] = id[i + 1];
      merge[i] = merge[i + 1];
    }
    --n;
    if (best > 0) merge[best - 1] = Find(id[best - 1], id[best]);
    if (best + 1 < n) merge[best] = Find(id[best], id[best + 1]);
  }
  scratch.id.assign(id.begin(), id.begin() + static_cast<std::ptrdiff_t>(n));
}

template <typename Queue>
bool Bpe::MergeLong(Queue queue, StopPoll& poll, Scratch& scratch) const {
  const auto n = static_cast<int32_t>(scratch.id.size());
  auto& [id, rank, previous, next, heap] = scratch;
  rank.assign(id.size(), kNoMerge);
  previous.resize(id.size());
  next.resize(id.size());
  const auto at = [](auto& values, int32_t i) -> auto& {
    return values[static_cast<size_t>(i)];
  };
  const auto look = [&](int32_t left) {
    const int32_t right = at(next, left);
    at(rank, left) = right == n ? kNoMerge : Find(at(id, left), at(id, right)).rank;
    if (at(rank, left) != kNoMerge) queue.Push(at(rank, left), left);
  };
  for (int32_t i = 0; i < n; ++i) {
    at(previous, i) = i - 1;
    at(next, i) = i + 1;
    look(i);
  }
  while (!queue.empty()) {
    if (poll.Stopped(1)) return false;
    const auto [best, left] = queue.Pop();
    // Stale where the rank has changed: a rank belongs to one pair, so that pair is gone.
    if (at(rank, left) != best) continue;
    const int32_t right = at(next, left);
    at(id, left) = Find(at(id, left), at(id, right)).merged;
    at(id, right) = -1;
    at(rank, right) = kNoMerge;
    at(next, left) = at(next, right);
    if (at(next, left) < n) at(previous, at(next, left)) = left;
    look(left);
    if (at(previous, left) >= 0) look(at(previous, left));
  }
  return true;
}

}  // namespace longhaul
