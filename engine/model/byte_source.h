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

// Where the bytes of a model are. Any thread.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  ByteSource(const ByteSource&) = delete;
  ByteSource& operator=(const ByteSource&) = delete;

  const std::string& name() const { return name_; }  // for messages: a file's path
  int64_t size() const { return size_; }             // when it was opened

  // Fills `to` with the bytes from `offset` on; FAILED_PRECONDITION when there are not so many any more.
  // REQUIRES: offset + to.size() <= size().
  virtual absl::Status Read(int64_t offset, std::span<std::byte> to) const = 0;

  // FAILED_PRECONDITION when somebody wrote to it since it was opened: what was read may be of two different models.
  virtual absl::Status CheckUnchanged() const = 0;

 protected:
  ByteSource(std::string name, int64_t size) : name_(std::move(name)), size_(size) {}

 private:
  const std::string name_;
  const int64_t size_;
};

// A regular file, open as long as this lives. It is read, never mapped: whoever cuts it short causes an error, and no
// signal. NOT_FOUND or PERMISSION_DENIED as the system says; INVALID_ARGUMENT, saying what it is instead, when it is
// empty or no regular file. Never waits for the other end of a pipe.
absl::StatusOr<std::unique_ptr<ByteSource>> OpenFile(const std::string& path);

// Bytes in memory, which outlive it.
std::unique_ptr<ByteSource> SourceOf(std::span<const std::byte> bytes, std::string name);

}  // namespace longhaul
