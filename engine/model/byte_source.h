#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace longhaul {

// Random access to the bytes of a model. Thread-safe.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  ByteSource(const ByteSource&) = delete;
  ByteSource& operator=(const ByteSource&) = delete;

  const std::string& name() const { return name_; }  // the path of a file; for messages
  int64_t size() const { return size_; }             // when it was opened

  // Fills `to` with the bytes from `offset` on; FAILED_PRECONDITION when the source has become shorter than that.
  // REQUIRES: offset + to.size() <= size().
  virtual absl::Status Read(int64_t offset, std::span<std::byte> to) const = 0;

  // FAILED_PRECONDITION when the source was written to since it was opened: what was read may mix two models.
  virtual absl::Status CheckUnchanged() const = 0;

 protected:
  ByteSource(std::string name, int64_t size) : name_(std::move(name)), size_(size) {}

 private:
  const std::string name_;
  const int64_t size_;
};

// Opens a regular file, which stays open as long as the source lives. It is read, never mapped, so that a file that is
// truncated meanwhile causes an error and no SIGBUS. NOT_FOUND or PERMISSION_DENIED as the system says;
// INVALID_ARGUMENT, naming what it is, for an empty file and for what is no regular file. Never blocks on a pipe.
absl::StatusOr<std::unique_ptr<ByteSource>> OpenFile(const std::string& path);

// A source over bytes in memory, which outlive it.
std::unique_ptr<ByteSource> SourceOf(std::span<const std::byte> bytes, std::string name);

}  // namespace longhaul
