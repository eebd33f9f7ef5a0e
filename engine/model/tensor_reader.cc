#include "engine/model/tensor_reader.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <latch>
#include <span>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "engine/base/aligned_array.h"
#include "engine/base/exceptions.h"
#include "engine/base/mutex.h"
#include "engine/base/status_macros.h"

namespace longhaul {
namespace {

// A piece is hashed while it is in the cache of a core, and even a slow disk reads it within half a second. The digest
// of a file depends on this size.
constexpr int64_t kPieceBytes = 128 << 10;
// Bytes that no Read asked for are read and added to the digest in strides, so that only one stride of digests is kept.
constexpr int64_t kStride = 1024 * kPieceBytes;

// The room that a tensor takes in the buffer, up to where the next one may begin.
int64_t BufferBytes(const HostTensor& tensor) {
  constexpr int64_t kAlignment = 64;
  const int64_t bytes = tensor.rows * RowBytes(tensor.type, tensor.columns);
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

// 128 bits of XXH3: fast compared with reading, and enough that no two files agree by chance.
template <typename Digest>
Digest ToDigest(const XXH128_hash_t& hash) {
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, hash);
  Digest digest;
  static_assert(sizeof(digest) == sizeof(canonical.digest));
  std::memcpy(digest.data(), canonical.digest, sizeof(digest));
  return digest;
}

}  // namespace

TensorReader::TensorReader(const Checkpoint& checkpoint, int threads, const StopCondition& stopped)
    : checkpoint_(checkpoint),
      stopped_(stopped),
      helpers_(static_cast<size_t>(threads) - 1),
      queue_(helpers_, "model reader") {
  for (const TensorEntry& tensor : checkpoint.tensors()) {
    regions_.push_back({.begin = tensor.offset, .end = tensor.offset + tensor.bytes, .digests = {}});
  }
  std::ranges::sort(regions_, {}, &Region::begin);
}

absl::StatusOr<std::vector<HostTensor>> TensorReader::Read(std::span<const StoredTensor> tensors) {
  int64_t bytes = 0;
  for (const StoredTensor& stored : tensors) bytes += BufferBytes(stored.tensor);
  if (!Reserve(bytes)) {
    return absl::ResourceExhaustedError(absl::StrCat(checkpoint_.path(), ": no memory for ", bytes,
                                                     " bytes of tensor '", tensors.front().tensor.name, "'"));
  }
  std::vector<HostTensor> result;
  std::vector<Piece> pieces;
  std::byte* next = buffer_.get();
  for (const StoredTensor& stored : tensors) {
    Region& region = *std::ranges::lower_bound(regions_, stored.offset, {}, &Region::begin);
    Cut(region.begin, region.end, next, region.digests, pieces);
    result.push_back(stored.tensor);
    result.back().data = next;
    result.back().owner = buffer_;
    next += BufferBytes(stored.tensor);
  }
  LH_RETURN_IF_ERROR(ReadAll(pieces));
  return result;
}

absl::StatusOr<std::string> TensorReader::Finish() {
  buffer_ = nullptr;
  XXH3_state_t whole;
  XXH3_128bits_reset(&whole);
  const auto add = [&whole](std::span<const Digest> digests) {
    XXH3_128bits_update(&whole, digests.data(), digests.size_bytes());
  };
  const auto read = [&](int64_t begin, int64_t end) {
    std::vector<Digest> digests;
    std::vector<Piece> pieces;
    for (; begin < end; begin += kStride) {
      pieces.clear();
      Cut(begin, std::min(end, begin + kStride), nullptr, digests, pieces);
      LH_RETURN_IF_ERROR(ReadAll(pieces));
      add(digests);
    }
    return absl::OkStatus();
  };
  const std::span<const std::byte> header = checkpoint_.header();
  add({{ToDigest<Digest>(XXH3_128bits(header.data(), header.size()))}});
  int64_t at = static_cast<int64_t>(header.size());
  for (const Region& region : regions_) {
    LH_RETURN_IF_ERROR(read(at, region.begin));
    if (region.digests.empty()) LH_RETURN_IF_ERROR(read(region.begin, region.end));
    add(region.digests);
    at = region.end;
  }
  LH_RETURN_IF_ERROR(read(at, checkpoint_.file_bytes()));
  LH_RETURN_IF_ERROR(checkpoint_.source().CheckUnchanged());
  const auto digest = ToDigest<Digest>(XXH3_128bits_digest(&whole));
  return absl::BytesToHexString({reinterpret_cast<const char*>(digest.data()), digest.size()});
}

void TensorReader::Cut(int64_t begin, int64_t end, std::byte* to, std::vector<Digest>& digests,
                       std::vector<Piece>& pieces) {
  digests.resize(static_cast<size_t>((end - begin + kPieceBytes - 1) / kPieceBytes));
  for (size_t i = 0; i < digests.size(); ++i, begin += kPieceBytes) {
    const auto bytes = static_cast<size_t>(std::min(kPieceBytes, end - begin));
    pieces.push_back({.offset = begin, .bytes = bytes, .to = to, .digest = &digests[i]});
    if (to != nullptr) to += bytes;
  }
}

absl::Status TensorReader::ReadAll(const std::vector<Piece>& pieces) {
  std::atomic<size_t> next{0};
  Mutex mutex;
  absl::Status status;
  const auto work = [&] {
    std::unique_ptr<std::byte[]> scratch;
    for (size_t i; (i = next.fetch_add(1)) < pieces.size();) {
      const absl::Status read = CatchExceptions([&] { return ReadPiece(pieces[i], scratch); });
      if (read.ok()) continue;
      MutexLock lock(mutex);
      status.Update(read);
      next.store(pieces.size());
    }
  };
  const size_t helpers = std::min(helpers_, pieces.empty() ? 0 : pieces.size() - 1);
  std::latch done(static_cast<std::ptrdiff_t>(helpers));
  for (size_t i = 0; i < helpers; ++i) {
    const absl::Status added = CatchExceptions([&] {
      queue_.Add([&] {
        work();
        done.count_down();
      });
      return absl::OkStatus();
    });
    if (!added.ok()) done.count_down();  // the other threads take over its share
  }
  work();
  done.wait();
  return status;
}

absl::Status TensorReader::ReadPiece(const Piece& piece, std::unique_ptr<std::byte[]>& scratch) const {
  if (stopped_ && stopped_())
    return absl::CancelledError(absl::StrCat(checkpoint_.path(), ": stopped while it was read"));
  std::byte* to = piece.to;
  if (to == nullptr) {
    if (scratch == nullptr) scratch = std::make_unique_for_overwrite<std::byte[]>(kPieceBytes);
    to = scratch.get();
  }
  LH_RETURN_IF_ERROR(checkpoint_.source().Read(piece.offset, {to, piece.bytes}));
  *piece.digest = ToDigest<Digest>(XXH3_128bits(to, piece.bytes));
  return absl::OkStatus();
}

bool TensorReader::Reserve(int64_t bytes) {
  if (bytes <= capacity_ && buffer_.use_count() == 1) return true;
  buffer_ = nullptr;
  buffer_ = std::shared_ptr<std::byte[]>(AllocateAligned<std::byte>(bytes));
  capacity_ = buffer_ != nullptr ? bytes : 0;
  return buffer_ != nullptr;
}

}  // namespace longhaul
