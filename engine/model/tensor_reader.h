#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/backend/backend.h"
#include "engine/base/stop_condition.h"
#include "engine/base/work_queue.h"
#include "engine/model/checkpoint.h"
#include "engine/model/model_tensors.h"

namespace longhaul {

// Reads each byte of a model file once: Read returns tensors, those that are packed together at a time, and Finish the
// digest of the whole file. One thread at a time.
class TensorReader {
 public:
  // Reads on `threads` threads, the caller's among them; each asks `stopped` every 128 KiB. `checkpoint` and `stopped`
  // are not owned and outlive it.
  TensorReader(const Checkpoint& checkpoint, int threads, const StopCondition& stopped);

  // Returns the tensors with their bytes. The next call reuses their memory unless somebody still holds it. CANCELLED
  // when stopped, RESOURCE_EXHAUSTED without memory, else as ByteSource::Read. REQUIRES: they are tensors of the file,
  // none twice.
  absl::StatusOr<std::vector<HostTensor>> Read(std::span<const StoredTensor> tensors);

  // Reads the rest and returns the digest of the whole file: 32 hex digits, equal for equal files, whatever was read
  // first. FAILED_PRECONDITION when the file changed since it was opened, else as Read.
  absl::StatusOr<std::string> Finish();

 private:
  using Digest = std::array<unsigned char, 16>;

  // The bytes of one tensor in the file.
  struct Region {
    int64_t begin = 0, end = 0;
    std::vector<Digest> digests;  // of its pieces; empty until it has been read
  };
  // What a thread reads and hashes at a time.
  struct Piece {
    int64_t offset = 0;
    size_t bytes = 0;
    std::byte* to = nullptr;  // null: only its digest is wanted
    Digest* digest = nullptr;
  };

  // Cuts the bytes from `begin` into as many pieces as there are digests, into `to` if it is not null.
  static void Cut(int64_t begin, int64_t end, std::byte* to, std::vector<Digest>& digests, std::vector<Piece>& pieces);
  absl::Status ReadAll(const std::vector<Piece>& pieces);
  absl::Status ReadPiece(const Piece& piece, std::unique_ptr<std::byte[]>& scratch) const;
  bool Reserve(int64_t bytes);

  const Checkpoint& checkpoint_;
  const StopCondition& stopped_;
  std::vector<Region> regions_;  // of all tensors, in the order of the file
  std::shared_ptr<std::byte[]> buffer_;
  int64_t capacity_ = 0;
  const size_t helpers_;
  WorkQueue queue_;
};

}  // namespace longhaul
