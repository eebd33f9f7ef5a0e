#include "engine/model/checkpoint.h"

#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/quoted.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/model/gguf/gguf.h"

namespace longhaul {
namespace {

std::string_view TypeName(const MetadataValue& value) {
  static constexpr std::string_view kNames[] = {"an integer",
                                                "an integer",
                                                "a number",
                                                "a bool",
                                                "a string",
                                                "an array of integers",
                                                "an array of integers",
                                                "an array of numbers",
                                                "an array of bools",
                                                "an array of strings"};
  static_assert(std::size(kNames) == std::variant_size_v<MetadataValue>);
  return kNames[value.index()];
}

}  // namespace

Checkpoint::Checkpoint(std::unique_ptr<ByteSource> source, CheckpointContents contents)
    : source_(std::move(source)), contents_(std::move(contents)) {
  for (const TensorEntry& tensor : contents_.tensors) by_name_.emplace(tensor.name, &tensor);
}

const MetadataValue* Checkpoint::FindValue(std::string_view key) const {
  const auto found = contents_.metadata.find(key);
  return found == contents_.metadata.end() ? nullptr : &found->second;
}

absl::Status Checkpoint::WrongType(std::string_view key, const MetadataValue& value, std::string_view expected) const {
  return absl::InvalidArgumentError(
      absl::StrCat(path(), ": key ", Quoted(key), " holds ", ToAbsl(TypeName(value)), ", expected ", ToAbsl(expected)));
}

absl::Status Checkpoint::Missing(std::string_view key, std::string_view expected) const {
  return absl::InvalidArgumentError(
      absl::StrCat(path(), ": key ", Quoted(key), " is missing, expected ", ToAbsl(expected)));
}

// Null when the key is missing.
template <typename T>
absl::StatusOr<const T*> Checkpoint::OptionalOf(std::string_view key, std::string_view expected) const {
  const MetadataValue* value = FindValue(key);
  if (value == nullptr) return nullptr;
  const T* typed = std::get_if<T>(value);
  if (typed == nullptr) return WrongType(key, *value, expected);
  return typed;
}

absl::StatusOr<int64_t> Checkpoint::ToInt64(std::string_view key, uint64_t value) const {
  if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
    return absl::InvalidArgumentError(
        absl::StrCat(path(), ": key ", Quoted(key), " holds ", value, ", expected at most 2^63 - 1"));
  }
  return static_cast<int64_t>(value);
}

absl::StatusOr<std::string> Checkpoint::String(std::string_view key) const {
  LH_ASSIGN_OR_RETURN(std::optional<std::string> value, OptionalString(key));
  if (!value) return Missing(key, "a string");
  return *std::move(value);
}

absl::StatusOr<int64_t> Checkpoint::Integer(std::string_view key) const {
  LH_ASSIGN_OR_RETURN(const std::optional<int64_t> value, OptionalInteger(key));
  if (!value) return Missing(key, "an integer");
  return *value;
}

absl::StatusOr<std::optional<std::string>> Checkpoint::OptionalString(std::string_view key) const {
  LH_ASSIGN_OR_RETURN(const std::string* value, OptionalOf<std::string>(key, "a string"));
  return value == nullptr ? std::nullopt : std::optional(*value);
}

absl::StatusOr<std::optional<int64_t>> Checkpoint::OptionalInteger(std::string_view key) const {
  const MetadataValue* value = FindValue(key);
  if (value == nullptr) return std::nullopt;
  if (const int64_t* number = std::get_if<int64_t>(value)) return *number;
  const uint64_t* number = std::get_if<uint64_t>(value);
  if (number == nullptr) return WrongType(key, *value, "an integer");
  LH_ASSIGN_OR_RETURN(const int64_t result, ToInt64(key, *number));
  return result;
}

absl::StatusOr<std::optional<double>> Checkpoint::OptionalNumber(std::string_view key) const {
  const MetadataValue* value = FindValue(key);
  if (value == nullptr) return std::nullopt;
  if (const double* number = std::get_if<double>(value)) return *number;
  if (const int64_t* number = std::get_if<int64_t>(value)) return static_cast<double>(*number);
  if (const uint64_t* number = std::get_if<uint64_t>(value)) return static_cast<double>(*number);
  return WrongType(key, *value, "a number");
}

absl::StatusOr<std::optional<bool>> Checkpoint::OptionalBool(std::string_view key) const {
  LH_ASSIGN_OR_RETURN(const bool* value, OptionalOf<bool>(key, "a bool"));
  return value == nullptr ? std::nullopt : std::optional(*value);
}

absl::StatusOr<const std::vector<std::string>*> Checkpoint::Strings(std::string_view key) const {
  LH_ASSIGN_OR_RETURN(const std::vector<std::string>* value,
                      OptionalOf<std::vector<std::string>>(key, "an array of strings"));
  if (value == nullptr) return Missing(key, "an array of strings");
  return value;
}

absl::StatusOr<std::optional<std::vector<int64_t>>> Checkpoint::OptionalIntegers(std::string_view key) const {
  const MetadataValue* value = FindValue(key);
  if (value == nullptr) return std::nullopt;
  if (const auto* numbers = std::get_if<std::vector<int64_t>>(value)) return *numbers;
  const auto* numbers = std::get_if<std::vector<uint64_t>>(value);
  if (numbers == nullptr) return WrongType(key, *value, "an array of integers");
  std::vector<int64_t> result;
  result.reserve(numbers->size());
  for (const uint64_t number : *numbers) {
    LH_ASSIGN_OR_RETURN(const int64_t narrowed, ToInt64(key, number));
    result.push_back(narrowed);
  }
  return result;
}

const TensorEntry* Checkpoint::Find(std::string_view name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : found->second;
}

absl::StatusOr<std::unique_ptr<Checkpoint>> OpenCheckpoint(const std::string& path) {
  LH_ASSIGN_OR_RETURN(std::unique_ptr<ByteSource> source, OpenFile(path));
  return ReadGguf(std::move(source));
}

}  // namespace longhaul
