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

// A value of the metadata. Integers of all widths become int64 or uint64, floats double; arrays hold one element type.
using MetadataValue =
    std::variant<int64_t, uint64_t, double, bool, std::string, std::vector<int64_t>, std::vector<uint64_t>,
                 std::vector<double>, std::vector<bool>, std::vector<std::string>>;

// A tensor of the file: dimension 0 is the fastest (the columns of a matrix).
struct TensorEntry {
  std::string name;
  TensorType type = TensorType::kF32;
  std::vector<int64_t> dims;  // 1 to 4, each at least 1
  int64_t elements = 0;
  int64_t offset = 0, bytes = 0;  // its range in the source, checked to lie inside
};

// What the reader of a file format finds. The file is untrusted: the reader checks every count, length, offset and
// type, so that all this can be used without a further check.
struct CheckpointContents {
  // Keys and names of tensors are those of GGUF ("general.architecture", "blk.0.attn_q.weight"), which every family of
  // models has: the reader of a format with other names translates them.
  std::map<std::string, MetadataValue, std::less<>> metadata;
  std::vector<TensorEntry> tensors;  // names differ, data do not overlap
  std::vector<std::byte> header;     // as it stands in the source, up to where the tensor data begin
};

// A model as it is stored, whatever the file format: metadata, and tensors by name. The header is in memory; bytes of
// tensors stay where they are until TensorReader reads them, each once, and makes the digest of all. Immutable; any
// thread. The source is open as long as this lives.
class Checkpoint {
 public:
  Checkpoint(std::unique_ptr<ByteSource> source, CheckpointContents contents);
  Checkpoint(const Checkpoint&) = delete;
  Checkpoint& operator=(const Checkpoint&) = delete;

  const std::string& path() const { return source_->name(); }
  int64_t file_bytes() const { return source_->size(); }
  std::span<const std::byte> header() const { return contents_.header; }
  const ByteSource& source() const { return *source_; }

  // A typed value of the metadata. The optional ones are none when the key is missing; all are INVALID_ARGUMENT, naming
  // file and key, when it holds another type or (integers) a number that does not fit int64.
  absl::StatusOr<std::string> String(std::string_view key) const;
  absl::StatusOr<int64_t> Integer(std::string_view key) const;
  absl::StatusOr<std::optional<std::string>> OptionalString(std::string_view key) const;
  absl::StatusOr<std::optional<int64_t>> OptionalInteger(std::string_view key) const;
  absl::StatusOr<std::optional<double>> OptionalNumber(std::string_view key) const;  // float or integer
  absl::StatusOr<std::optional<bool>> OptionalBool(std::string_view key) const;
  absl::StatusOr<const std::vector<std::string>*> Strings(std::string_view key) const;
  absl::StatusOr<std::optional<std::vector<int64_t>>> OptionalIntegers(std::string_view key) const;

  const std::vector<TensorEntry>& tensors() const { return contents_.tensors; }
  const TensorEntry* Find(std::string_view name) const;  // null when missing

 private:
  const MetadataValue* FindValue(std::string_view key) const;  // null when missing
  template <typename T>
  absl::StatusOr<const T*> OptionalOf(std::string_view key, std::string_view expected) const;
  absl::StatusOr<int64_t> ToInt64(std::string_view key, uint64_t value) const;
  absl::Status WrongType(std::string_view key, const MetadataValue& value, std::string_view expected) const;
  absl::Status Missing(std::string_view key, std::string_view expected) const;

  const std::unique_ptr<ByteSource> source_;
  const CheckpointContents contents_;
  std::map<std::string_view, const TensorEntry*> by_name_;
};

// Opens a model's file, of any format that there is a reader for: GGUF. As OpenFile, else as the format's reader.
absl::StatusOr<std::unique_ptr<Checkpoint>> OpenCheckpoint(const std::string& path);

}  // namespace longhaul
