#include "engine/model/gguf.h"

#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/quoted.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/model/gguf_parser.h"

namespace longhaul {
namespace {

std::string_view TypeName(const GgufValue& value) {
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
  static_assert(std::size(kNames) == std::variant_size_v<GgufValue>);
  return kNames[value.index()];
}

}  // namespace

struct GgufFile::Impl {
  std::unique_ptr<ByteSource> source;
  GgufContents contents;
  std::map<std::string_view, const GgufTensor*> by_name;

  const GgufValue* FindValue(std::string_view key) const {
    const auto found = contents.metadata.find(key);
    return found == contents.metadata.end() ? nullptr : &found->second;
  }

  absl::Status WrongType(std::string_view key, const GgufValue& value, std::string_view expected) const {
    return absl::InvalidArgumentError(absl::StrCat(source->name(), ": key ", Quoted(key), " holds ",
                                                   ToAbsl(TypeName(value)), ", expected ", ToAbsl(expected)));
  }

  absl::Status Missing(std::string_view key, std::string_view expected) const {
    return absl::InvalidArgumentError(
        absl::StrCat(source->name(), ": key ", Quoted(key), " is missing, expected ", ToAbsl(expected)));
  }

  // Null when the key is missing.
  template <typename T>
  absl::StatusOr<const T*> OptionalOf(std::string_view key, std::string_view expected) const {
    const GgufValue* value = FindValue(key);
    if (value == nullptr) return nullptr;
    const T* typed = std::get_if<T>(value);
    if (typed == nullptr) return WrongType(key, *value, expected);
    return typed;
  }

  absl::StatusOr<int64_t> ToInt64(std::string_view key, uint64_t value) const {
    if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
      return absl::InvalidArgumentError(
          absl::StrCat(source->name(), ": key ", Quoted(key), " holds ", value, ", expected at most 2^63 - 1"));
    }
    return static_cast<int64_t>(value);
  }
};

GgufFile::GgufFile(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
GgufFile::~GgufFile() = default;

absl::StatusOr<std::unique_ptr<GgufFile>> GgufFile::Open(const std::string& path) {
  LH_ASSIGN_OR_RETURN(std::unique_ptr<ByteSource> source, OpenFile(path));
  return Read(std::move(source));
}

absl::StatusOr<std::unique_ptr<GgufFile>> GgufFile::Parse(std::span<const std::byte> bytes, std::string name) {
  return Read(SourceOf(bytes, std::move(name)));
}

absl::StatusOr<std::unique_ptr<GgufFile>> GgufFile::Read(std::unique_ptr<ByteSource> source) {
  auto impl = std::make_unique<Impl>();
  LH_ASSIGN_OR_RETURN(impl->contents, ParseGguf(*source));
  impl->source = std::move(source);
  for (const GgufTensor& tensor : impl->contents.tensors) impl->by_name.emplace(tensor.name, &tensor);
  return std::unique_ptr<GgufFile>(new GgufFile(std::move(impl)));
}

std::span<const std::byte> GgufFile::header() const {
  return impl_->contents.header;
}

const ByteSource& GgufFile::source() const {
  return *impl_->source;
}

absl::StatusOr<std::string> GgufFile::String(std::string_view key) const {
  LH_ASSIGN_OR_RETURN(std::optional<std::string> value, OptionalString(key));
  if (!value) return impl_->Missing(key, "a string");
  return *std::move(value);
}

absl::StatusOr<int64_t> GgufFile::Integer(std::string_view key) const {
  LH_ASSIGN_OR_RETURN(const std::optional<int64_t> value, OptionalInteger(key));
  if (!value) return impl_->Missing(key, "an integer");
  return *value;
}

absl::StatusOr<std::optional<std::string>> GgufFile::OptionalString(std::string_view key) const {
  LH_ASSIGN_OR_RETURN(const std::string* value, impl_->OptionalOf<std::string>(key, "a string"));
  return value == nullptr ? std::nullopt : std::optional(*value);
}

absl::StatusOr<std::optional<int64_t>> GgufFile::OptionalInteger(std::string_view key) const {
  const GgufValue* value = impl_->FindValue(key);
  if (value == nullptr) return std::nullopt;
  if (const int64_t* number = std::get_if<int64_t>(value)) return *number;
  const uint64_t* number = std::get_if<uint64_t>(value);
  if (number == nullptr) return impl_->WrongType(key, *value, "an integer");
  LH_ASSIGN_OR_RETURN(const int64_t result, impl_->ToInt64(key, *number));
  return result;
}

absl::StatusOr<std::optional<double>> GgufFile::OptionalNumber(std::string_view key) const {
  const GgufValue* value = impl_->FindValue(key);
  if (value == nullptr) return std::nullopt;
  if (const double* number = std::get_if<double>(value)) return *number;
  if (const int64_t* number = std::get_if<int64_t>(value)) return static_cast<double>(*number);
  if (const uint64_t* number = std::get_if<uint64_t>(value)) return static_cast<double>(*number);
  return impl_->WrongType(key, *value, "a number");
}

absl::StatusOr<std::optional<bool>> GgufFile::OptionalBool(std::string_view key) const {
  LH_ASSIGN_OR_RETURN(const bool* value, impl_->OptionalOf<bool>(key, "a bool"));
  return value == nullptr ? std::nullopt : std::optional(*value);
}

absl::StatusOr<const std::vector<std::string>*> GgufFile::Strings(std::string_view key) const {
  LH_ASSIGN_OR_RETURN(const std::vector<std::string>* value,
                      impl_->OptionalOf<std::vector<std::string>>(key, "an array of strings"));
  if (value == nullptr) return impl_->Missing(key, "an array of strings");
  return value;
}

absl::StatusOr<std::optional<std::vector<int64_t>>> GgufFile::OptionalIntegers(std::string_view key) const {
  const GgufValue* value = impl_->FindValue(key);
  if (value == nullptr) return std::nullopt;
  if (const auto* numbers = std::get_if<std::vector<int64_t>>(value)) return *numbers;
  const auto* numbers = std::get_if<std::vector<uint64_t>>(value);
  if (numbers == nullptr) return impl_->WrongType(key, *value, "an array of integers");
  std::vector<int64_t> result;
  result.reserve(numbers->size());
  for (const uint64_t number : *numbers) {
    LH_ASSIGN_OR_RETURN(const int64_t narrowed, impl_->ToInt64(key, number));
    result.push_back(narrowed);
  }
  return result;
}

const std::vector<GgufTensor>& GgufFile::tensors() const {
  return impl_->contents.tensors;
}

const GgufTensor* GgufFile::Find(std::string_view name) const {
  const auto found = impl_->by_name.find(name);
  return found == impl_->by_name.end() ? nullptr : found->second;
}

}  // namespace longhaul
