#include "engine/model/gguf/gguf.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <numeric>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/backend/tensor_type.h"
#include "engine/base/quoted.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/model/gguf/byte_reader.h"
#include "engine/model/gguf/file_kind.h"

namespace longhaul {
namespace {

// Headers of real models take up to some 20 MiB; this bounds what a file can make us allocate.
constexpr int64_t kMaxHeaderBytes = int64_t{128} << 20;
constexpr uint64_t kMaxValues = 1 << 16;
constexpr uint64_t kMaxTensors = 1 << 17;
constexpr size_t kMaxNameBytes = 65535;
constexpr uint32_t kMaxDims = 4;
constexpr uint64_t kMinAlignment = 8, kMaxAlignment = 1 << 16, kDefaultAlignment = 32;

enum class ValueType : uint32_t {
  kUint8,
  kInt8,
  kUint16,
  kInt16,
  kUint32,
  kInt32,
  kFloat32,
  kBool,
  kString,
  kArray,
  kUint64,
  kInt64,
  kFloat64
};
constexpr uint32_t kValueTypes = 13;

// The fewest bytes that a value of this type takes in the file.
uint64_t MinBytes(ValueType type) {
  static constexpr uint64_t kBytes[kValueTypes] = {1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8};
  return kBytes[static_cast<uint32_t>(type)];
}

// One number, or `count` of them.
template <typename Wide, typename Stored>
MetadataValue ReadNumbers(ByteReader& reader, std::optional<uint64_t> count) {
  if (!count) return static_cast<Wide>(reader.Read<Stored>());
  std::vector<Wide> values(*count);
  for (Wide& value : values) value = static_cast<Wide>(reader.Read<Stored>());
  return values;
}

class Parser {
 public:
  explicit Parser(const ByteSource& source) : source_(source), reader_(source, kMaxHeaderBytes) {}

  absl::StatusOr<CheckpointContents> Parse() {
    LH_RETURN_IF_ERROR(ReadPreamble());
    for (uint64_t i = 0; i < n_values_; ++i) LH_RETURN_IF_ERROR(ReadEntry(i));
    LH_RETURN_IF_ERROR(ReadAlignment());
    for (uint64_t i = 0; i < n_tensors_; ++i) LH_RETURN_IF_ERROR(ReadTensor(i));
    LH_RETURN_IF_ERROR(PlaceTensors());
    LH_RETURN_IF_ERROR(CheckNamesDiffer());
    LH_RETURN_IF_ERROR(CheckDataDisjoint());
    return std::move(contents_);
  }

 private:
  template <typename... Parts>
  absl::Status Error(const Parts&... parts) const {
    return absl::InvalidArgumentError(absl::StrCat(source_.name(), ": ", parts...));
  }

  // The error for a header that ends inside `what`.
  absl::Status Truncated(const std::string& what) const {
    if (!reader_.status().ok()) return reader_.status();
    if (source_.size() > kMaxHeaderBytes) {
      return Error("the header reaches past ", kMaxHeaderBytes, " bytes (in ", what, "): more than any model has");
    }
    return Error("truncated: the file ends after ", source_.size(), " bytes, in ", what);
  }

  absl::Status ReadPreamble() {
    LH_ASSIGN_OR_RETURN(const std::span<const std::byte> begin, reader_.Peek(kFileKindBytes));
    if (const std::string kind = NameOtherFile(begin, source_.size()); !kind.empty()) {
      return Error("not a GGUF file but ", kind);
    }
    reader_.Read<uint32_t>();
    const uint32_t version = reader_.Read<uint32_t>();
    n_tensors_ = reader_.Read<uint64_t>();
    n_values_ = reader_.Read<uint64_t>();
    if (reader_.failed()) return Truncated("its first 24 bytes");
    if (version != 0 && (version & 0xffff) == 0) {
      return Error(
          "a big-endian GGUF file: only little-endian ones are supported; convert it for this kind of machine");
    }
    if (version == 1) return Error("GGUF version 1 is not supported: 2 and 3 are; convert the model again");
    if (version != 2 && version != 3) return Error("GGUF version ", version, " is not supported: 2 and 3 are");
    constexpr uint64_t kMinValueBytes = 8 + 4 + 1, kMinTensorBytes = 8 + 4 + 8 + 4 + 8;
    LH_RETURN_IF_ERROR(CheckCount("metadata entries", n_values_, kMinValueBytes, kMaxValues));
    return CheckCount("tensors", n_tensors_, kMinTensorBytes, kMaxTensors);
  }

  absl::Status CheckCount(std::string_view what, uint64_t count, uint64_t min_bytes, uint64_t max) const {
    if (count > max) return Error("declares ", count, " ", ToAbsl(what), ": at most ", max, " are supported");
    if (count > reader_.remaining() / min_bytes) {
      return Error("declares ", count, " ", ToAbsl(what), ", which need at least ", count * min_bytes,
                   " bytes: the file has ", reader_.remaining(), " left");
    }
    return absl::OkStatus();
  }

  absl::Status ReadEntry(uint64_t index) {
    const std::string key = reader_.ReadString();
    const uint32_t type = reader_.Read<uint32_t>();
    if (reader_.failed()) return Truncated(absl::StrCat("metadata entry ", index, " of ", n_values_));
    if (key.empty() || key.size() > kMaxNameBytes) {
      return Error("metadata entry ", index, " has a key of ", key.size(), " bytes: expected 1 to ", kMaxNameBytes);
    }
    absl::StatusOr<MetadataValue> value = ReadValue(key, type);
    if (!value.ok()) return value.status();
    if (!contents_.metadata.emplace(key, std::move(*value)).second) {
      return Error("key ", Quoted(key), " stands twice in the metadata");
    }
    return absl::OkStatus();
  }

  absl::StatusOr<MetadataValue> ReadValue(std::string_view key, uint32_t type_number) {
    if (type_number >= kValueTypes) {
      return Error("key ", Quoted(key), " has value type ", type_number, ": expected 0 to ", kValueTypes - 1);
    }
    ValueType type{type_number};
    std::optional<uint64_t> count;
    if (type == ValueType::kArray) {
      const uint32_t element_number = reader_.Read<uint32_t>();
      count = reader_.Read<uint64_t>();
      if (reader_.failed()) return Truncated(absl::StrCat("key ", Quoted(key)));
      type = ValueType{element_number};
      if (element_number >= kValueTypes || type == ValueType::kArray) {
        return Error("key ", Quoted(key), " is an array of element type ", element_number,
                     ": only arrays of plain values (types 0 to 8 and 10 to 12) are supported");
      }
      if (*count > reader_.remaining() / MinBytes(type)) {
        return Error("key ", Quoted(key), " declares ", *count, " elements of at least ", MinBytes(type),
                     " bytes: the file has ", reader_.remaining(), " left");
      }
    }
    MetadataValue value = ReadPayload(type, count);
    if (reader_.failed()) return Truncated(absl::StrCat("key ", Quoted(key)));
    if (bad_bool_) return Error("key ", Quoted(key), " holds a bool that is neither 0 nor 1");
    return value;
  }

  MetadataValue ReadPayload(ValueType type, std::optional<uint64_t> count) {
    switch (type) {
      case ValueType::kUint8:
        return ReadNumbers<uint64_t, uint8_t>(reader_, count);
      case ValueType::kInt8:
        return ReadNumbers<int64_t, int8_t>(reader_, count);
      case ValueType::kUint16:
        return ReadNumbers<uint64_t, uint16_t>(reader_, count);
      case ValueType::kInt16:
        return ReadNumbers<int64_t, int16_t>(reader_, count);
      case ValueType::kUint32:
        return ReadNumbers<uint64_t, uint32_t>(reader_, count);
      case ValueType::kInt32:
        return ReadNumbers<int64_t, int32_t>(reader_, count);
      case ValueType::kFloat32:
        return ReadNumbers<double, float>(reader_, count);
      case ValueType::kUint64:
        return ReadNumbers<uint64_t, uint64_t>(reader_, count);
      case ValueType::kInt64:
        return ReadNumbers<int64_t, int64_t>(reader_, count);
      case ValueType::kFloat64:
        return ReadNumbers<double, double>(reader_, count);
      case ValueType::kBool: {
        if (!count) return ReadBool();
        std::vector<bool> values(*count);
        for (size_t i = 0; i < values.size(); ++i) values[i] = ReadBool();
        return values;
      }
      case ValueType::kString: {
        if (!count) return reader_.ReadString();
        std::vector<std::string> values;
        values.reserve(*count);
        for (uint64_t i = 0; i < *count && !reader_.failed(); ++i) values.emplace_back(reader_.ReadString());
        return values;
      }
      case ValueType::kArray:
        break;  // arrays do not nest
    }
    return false;
  }

  bool ReadBool() {
    const uint8_t value = reader_.Read<uint8_t>();
    bad_bool_ = bad_bool_ || value > 1;
    return value == 1;
  }

  absl::Status ReadAlignment() {
    const auto found = contents_.metadata.find("general.alignment");
    if (found == contents_.metadata.end()) return absl::OkStatus();
    const uint64_t* value = std::get_if<uint64_t>(&found->second);
    if (value == nullptr || !std::has_single_bit(*value) || *value < kMinAlignment || *value > kMaxAlignment) {
      return Error("key 'general.alignment' holds ", value != nullptr ? absl::StrCat(*value) : "another type",
                   ": expected a power of two from ", kMinAlignment, " to ", kMaxAlignment);
    }
    alignment_ = *value;
    return absl::OkStatus();
  }

  absl::Status ReadTensor(uint64_t index) {
    const std::string name = reader_.ReadString();
    const uint32_t n_dims = reader_.Read<uint32_t>();
    if (reader_.failed()) return Truncated(absl::StrCat("the entry of tensor ", index, " of ", n_tensors_));
    if (name.empty() || name.size() > kMaxNameBytes) {
      return Error("tensor ", index, " has a name of ", name.size(), " bytes: expected 1 to ", kMaxNameBytes);
    }
    if (n_dims < 1 || n_dims > kMaxDims) {
      return Error("tensor ", Quoted(name), " has ", n_dims, " dimensions: expected 1 to ", kMaxDims);
    }
    TensorEntry tensor{.name = name, .dims = {}, .elements = 1};
    for (uint32_t i = 0; i < n_dims; ++i) {
      const int64_t dim = reader_.Read<int64_t>();
      if (reader_.failed()) break;
      if (dim < 1 || __builtin_mul_overflow(tensor.elements, dim, &tensor.elements)) {
        return Error("tensor ", Quoted(name), ": dimension ", i, " is ", static_cast<uint64_t>(dim),
                     ": expected at least 1 and a product of all that fits 63 bits");
      }
      tensor.dims.push_back(dim);
    }
    const uint32_t type = reader_.Read<uint32_t>();
    offsets_.push_back(reader_.Read<uint64_t>());
    if (reader_.failed()) return Truncated(absl::StrCat("the entry of tensor ", Quoted(name)));
    const std::optional<TensorType> known = TensorTypeFromNumber(type);
    if (!known) {
      return Error("tensor ", Quoted(name), " has type ", type, ", which is not supported: ", SupportedTypes(), " are");
    }
    tensor.type = *known;
    if (tensor.dims[0] % Info(tensor.type).block_elements != 0) {
      return Error("tensor ", Quoted(name), ": rows of ", tensor.dims[0], " elements, expected a multiple of ",
                   Info(tensor.type).block_elements, " (the block of ", ToAbsl(Info(tensor.type).name), ")");
    }
    contents_.tensors.push_back(std::move(tensor));
    return absl::OkStatus();
  }

  static std::string SupportedTypes() {
    std::vector<std::string> names;
    constexpr uint32_t kNumbersInUse = 64;
    for (uint32_t number = 0; number < kNumbersInUse; ++number) {
      const std::optional<TensorType> type = TensorTypeFromNumber(number);
      if (type) names.push_back(absl::StrCat(ToAbsl(Info(*type).name), " (", number, ")"));
    }
    return absl::StrJoin(names, ", ");
  }

  // Gives each tensor its bytes.
  absl::Status PlaceTensors() {
    const uint64_t size = static_cast<uint64_t>(source_.size());
    const uint64_t data_begin = (reader_.position() + alignment_ - 1) / alignment_ * alignment_;
    LH_ASSIGN_OR_RETURN(const std::span<const std::byte> header, reader_.Peek(data_begin));
    contents_.header.assign(header.begin(), header.end());
    for (size_t i = 0; i < contents_.tensors.size(); ++i) {
      TensorEntry& tensor = contents_.tensors[i];
      if (offsets_[i] % alignment_ != 0) {
        return Error("tensor ", Quoted(tensor.name), " has offset ", offsets_[i],
                     ": expected a multiple of the alignment, ", alignment_);
      }
      const TensorTypeInfo& info = Info(tensor.type);
      uint64_t bytes = 0, begin = 0, end = 0;
      if (__builtin_mul_overflow(static_cast<uint64_t>(tensor.elements / info.block_elements),
                                 static_cast<uint64_t>(info.block_bytes), &bytes) ||
          __builtin_add_overflow(data_begin, offsets_[i], &begin) || __builtin_add_overflow(begin, bytes, &end)) {
        return Error("tensor ", Quoted(tensor.name), " lies past any file: offset ", offsets_[i], ", ", tensor.elements,
                     " elements");
      }
      if (end > size) {
        return Error("truncated: tensor ", Quoted(tensor.name), " needs bytes ", begin, " to ", end, ", the file has ",
                     size);
      }
      tensor.offset = static_cast<int64_t>(begin);
      tensor.bytes = static_cast<int64_t>(bytes);
    }
    return absl::OkStatus();
  }

  absl::Status CheckNamesDiffer() const {
    std::set<std::string_view> names;
    for (const TensorEntry& tensor : contents_.tensors) {
      if (!names.insert(tensor.name).second) return Error("tensor ", Quoted(tensor.name), " stands twice in the file");
    }
    return absl::OkStatus();
  }

  // Tensors that share bytes would let a small file take the memory of a large one once its weights are packed.
  absl::Status CheckDataDisjoint() const {
    std::vector<const TensorEntry*> order;
    for (const TensorEntry& tensor : contents_.tensors) order.push_back(&tensor);
    std::ranges::sort(order, {}, &TensorEntry::offset);
    for (size_t i = 1; i < order.size(); ++i) {
      if (order[i - 1]->offset + order[i - 1]->bytes > order[i]->offset) {
        return Error("tensors ", Quoted(order[i - 1]->name), " and ", Quoted(order[i]->name), " overlap");
      }
    }
    return absl::OkStatus();
  }

  const ByteSource& source_;
  ByteReader reader_;
  uint64_t n_tensors_ = 0, n_values_ = 0, alignment_ = kDefaultAlignment;
  bool bad_bool_ = false;
  std::vector<uint64_t> offsets_;  // of contents_.tensors, from the start of the data
  CheckpointContents contents_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Checkpoint>> ReadGguf(std::unique_ptr<ByteSource> source) {
  LH_ASSIGN_OR_RETURN(CheckpointContents contents, Parser(*source).Parse());
  return std::make_unique<Checkpoint>(std::move(source), std::move(contents));
}

}  // namespace longhaul
