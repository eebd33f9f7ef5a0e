#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace longhaul {

static_assert(std::endian::native == std::endian::little, "the reader copies little-endian bytes as they are");

// Reads little-endian values one after another from untrusted bytes. A read past the end gives zero or an empty string
// and sets failed() for good, so that a caller may check once after several reads.
class ByteReader {
 public:
  explicit ByteReader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  template <typename T>
  T Read() {
    T value{};
    if (Has(sizeof(T))) {
      std::memcpy(&value, bytes_.data() + position_, sizeof(T));
      position_ += sizeof(T);
    }
    return value;
  }

  // A length of 64 bits, then as many bytes; a view into the bytes.
  std::string_view ReadString() {
    const uint64_t length = Read<uint64_t>();
    if (!Has(length)) return {};
    const char* text = reinterpret_cast<const char*>(bytes_.data() + position_);
    position_ += length;
    return {text, length};
  }

  bool failed() const { return failed_; }
  size_t position() const { return position_; }
  size_t remaining() const { return bytes_.size() - position_; }

 private:
  bool Has(uint64_t n) {
    failed_ = failed_ || n > remaining();
    return !failed_;
  }

  std::span<const std::byte> bytes_;
  size_t position_ = 0;
  bool failed_ = false;
};

}  // namespace longhaul
