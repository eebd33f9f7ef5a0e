#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/status_macros.h"
#include "engine/model/byte_source.h"

namespace longhaul {

static_assert(std::endian::native == std::endian::little, "the reader copies little-endian bytes as they are");

// Reads little-endian values one after another from the start of an untrusted source, and keeps its bytes. A read past
// the end gives zero or an empty string and sets failed() for good, so that a caller may check once after several.
class ByteReader {
 public:
  // Reads at most the first `limit` bytes. `source` outlives it.
  ByteReader(const ByteSource& source, int64_t limit)
      : source_(source), size_(static_cast<size_t>(std::min(source.size(), limit))) {}

  template <typename T>
  T Read() {
    T value{};
    if (Has(sizeof(T))) {
      std::memcpy(&value, bytes_.data() + position_, sizeof(T));
      position_ += sizeof(T);
    }
    return value;
  }

  // A length of 64 bits, then as many bytes.
  std::string ReadString() {
    const uint64_t length = Read<uint64_t>();
    if (!Has(length)) return {};
    std::string text(reinterpret_cast<const char*>(bytes_.data() + position_), length);
    position_ += length;
    return text;
  }

  // The first `n` bytes, or all where the source has fewer; no position moves.
  absl::StatusOr<std::span<const std::byte>> Peek(size_t n) {
    n = std::min(n, size_);
    LH_RETURN_IF_ERROR(Load(n));
    return std::span<const std::byte>(bytes_).first(n);
  }

  bool failed() const { return failed_; }
  const absl::Status& status() const { return status_; }  // why the source could not be read, if that is what failed
  size_t position() const { return position_; }
  size_t remaining() const { return size_ - position_; }

 private:
  bool Has(uint64_t n) {
    failed_ = failed_ || n > remaining();
    if (!failed_ && n > bytes_.size() - position_) {
      status_ = Load(position_ + n);
      failed_ = !status_.ok();
    }
    return !failed_;
  }

  absl::Status Load(size_t end) {
    constexpr size_t kAtOnce = size_t{1} << 20;
    const size_t loaded = bytes_.size();
    if (end <= loaded) return absl::OkStatus();
    bytes_.resize(std::min(size_, std::max(end, loaded + kAtOnce)));
    return source_.Read(static_cast<int64_t>(loaded), std::span(bytes_).subspan(loaded));
  }

  const ByteSource& source_;
  const size_t size_;
  std::vector<std::byte> bytes_;  // the first ones of the source
  size_t position_ = 0;
  bool failed_ = false;
  absl::Status status_;
};

}  // namespace longhaul
