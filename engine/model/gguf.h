#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/backend/tensor_type.h"
#include "engine/model/byte_source.h"

namespace longhaul {

// A value of GGUF's metadata. Integers of all widths become int64 or uint64, floats double; arrays hold one element
// type.
using GgufValue = std::variant<int64_t, uint64_t, double, bool, std::string, std::vector<int64_t>,
                               std::vector<uint64_t>, std::vector<double>, std::vector<bool>, std::vector<std::string>>;

// A tensor of the file: dimension 0 is the fastest (the columns of a matrix).
struct GgufTensor {
  std::string name;
  TensorType type = TensorType::kF32;
  std::vector<int64_t> dims;  // 1 to 4, each at least 1
  int64_t elements = 0;
  int64_t offset = 0, bytes = 0;  // where it lies in the file: whole
};

// A GGUF file, version 2 or 3, little-endian: its header is in memory, its tensors are where the file says. The file is
// untrusted: every count, length, offset and type is checked here, so that what this class returns can be used without
// a further check. Immutable; the file is open as long as this lives.
class GgufFile {
 public:
  // As OpenFile, or INVALID_ARGUMENT naming the file, the key or tensor, what it holds and what was expected; of what
  // is no GGUF file, what it is instead.
  static absl::StatusOr<std::unique_ptr<GgufFile>> Open(const std::string& path);

  // The same over bytes in memory that outlive it; `name` stands for the path in messages.
  static absl::StatusOr<std::unique_ptr<GgufFile>> Parse(std::span<const std::byte> bytes, std::string name);
  ~GgufFile();

  const std::string& path() const { return source().name(); }
  int64_t file_bytes() const { return source().size(); }
  std::span<const std::byte> header() const;  // all before the tensor data
  const ByteSource& source() const;

  // A typed value of metadata. The optional ones are none when the key is missing; all are INVALID_ARGUMENT, naming
  // file and key, when it holds another type or (integers) a number that does not fit int64.
  absl::StatusOr<std::string> String(std::string_view key) const;
  absl::StatusOr<int64_t> Integer(std::string_view key) const;
  absl::StatusOr<std::optional<std::string>> OptionalString(std::string_view key) const;
  absl::StatusOr<std::optional<int64_t>> OptionalInteger(std::string_view key) const;
  absl::StatusOr<std::optional<double>> OptionalNumber(std::string_view key) const;  // float or integer
  absl::StatusOr<std::optional<bool>> OptionalBool(std::string_view key) const;
  absl::StatusOr<const std::vector<std::string>*> Strings(std::string_view key) const;
  absl::StatusOr<std::optional<std::vector<int64_t>>> OptionalIntegers(std::string_view key) const;

  const std::vector<GgufTensor>& tensors() const;
  const GgufTensor* Find(std::string_view name) const;  // null when missing

 private:
  static absl::StatusOr<std::unique_ptr<GgufFile>> Read(std::unique_ptr<ByteSource> source);

  struct Impl;
  explicit GgufFile(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace longhaul
