#include "proto/field_text.h"

#include <google/protobuf/message.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <limits>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace longhaul {
namespace {

using google::protobuf::EnumDescriptor;
using google::protobuf::EnumValueDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

std::string Hyphens(std::string name) {
  std::replace(name.begin(), name.end(), '_', '-');
  return name;
}

// "ntk_variant" has NTK_VARIANT_UNSPECIFIED for its zero: what stands before that word is the prefix of all values.
std::string ValueName(const EnumValueDescriptor& value) {
  const std::string& zero = value.type()->value(0)->name();
  std::string name = value.name().substr(std::min(zero.rfind("UNSPECIFIED"), value.name().size()));
  for (char& c : name) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return Hyphens(std::move(name));
}

absl::Status Refuse(std::string_view value, std::string_view allowed) {
  return absl::InvalidArgumentError(
      absl::StrCat(QuotedPiece(value), " is not allowed; it must be ", std::string(allowed)));
}

// Parses all of `text` as a number and passes it to `store`.
template <typename T, typename Store>
absl::Status StoreNumber(std::string_view text, Store store) {
  T number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc() && end == text.data() + text.size()) {
    store(number);
    return absl::OkStatus();
  }
  if constexpr (std::is_integral_v<T>) {
    return Refuse(
        text, absl::StrCat("a whole number, ", std::numeric_limits<T>::min(), " to ", std::numeric_limits<T>::max()));
  } else {
    return Refuse(text, "a number");
  }
}

template <typename Store>
absl::Status StoreEnum(std::string_view text, const EnumDescriptor& type, Store store) {
  std::vector<std::string> names;
  for (int i = 0; i < type.value_count(); ++i) {
    const EnumValueDescriptor& value = *type.value(i);
    if (value.number() == 0) continue;  // stands for "not given"
    names.push_back(ValueName(value));
    if (text != names.back()) continue;
    store(value.number());
    return absl::OkStatus();
  }
  // A value that this program does not know is written as its number.
  if (StoreNumber<int32_t>(text, store).ok()) return absl::OkStatus();
  return Refuse(text, absl::StrJoin(names, " or "));
}

// Reads one value into `field`; of a repeated field, one element more.
absl::Status Store(std::string_view text, Message& message, const FieldDescriptor& field) {
  const Reflection& r = *message.GetReflection();
  const bool repeated = field.is_repeated();
  Message* const m = &message;
  const FieldDescriptor* const f = &field;
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return StoreNumber<int32_t>(text, [&](auto v) { repeated ? r.AddInt32(m, f, v) : r.SetInt32(m, f, v); });
    case FieldDescriptor::CPPTYPE_INT64:
      return StoreNumber<int64_t>(text, [&](auto v) { repeated ? r.AddInt64(m, f, v) : r.SetInt64(m, f, v); });
    case FieldDescriptor::CPPTYPE_UINT32:
      return StoreNumber<uint32_t>(text, [&](auto v) { repeated ? r.AddUInt32(m, f, v) : r.SetUInt32(m, f, v); });
    case FieldDescriptor::CPPTYPE_UINT64:
      return StoreNumber<uint64_t>(text, [&](auto v) { repeated ? r.AddUInt64(m, f, v) : r.SetUInt64(m, f, v); });
    case FieldDescriptor::CPPTYPE_FLOAT:
      return StoreNumber<float>(text, [&](auto v) { repeated ? r.AddFloat(m, f, v) : r.SetFloat(m, f, v); });
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return StoreNumber<double>(text, [&](auto v) { repeated ? r.AddDouble(m, f, v) : r.SetDouble(m, f, v); });
    case FieldDescriptor::CPPTYPE_ENUM:
      return StoreEnum(text, *field.enum_type(),
                       [&](int v) { repeated ? r.AddEnumValue(m, f, v) : r.SetEnumValue(m, f, v); });
    case FieldDescriptor::CPPTYPE_BOOL: {
      if (text != "true" && text != "false") return Refuse(text, "true or false");
      const bool value = text == "true";
      repeated ? r.AddBool(m, f, value) : r.SetBool(m, f, value);
      return absl::OkStatus();
    }
    case FieldDescriptor::CPPTYPE_MESSAGE:
      // A message of one number (log-n) is written as that number.
      if (!repeated && field.message_type()->field_count() == 1) {
        return Store(text, *r.MutableMessage(m, f), *field.message_type()->field(0));
      }
      break;
    case FieldDescriptor::CPPTYPE_STRING:
      break;
  }
  return absl::InvalidArgumentError("it cannot be given in a text");
}

template <typename T>
std::string NumberText(T number) {
  char buffer[64];
  return std::string(buffer, std::to_chars(buffer, buffer + sizeof buffer, number).ptr);
}

// The text that Store reads; of a repeated field, of its element `i`.
std::string ValueText(const Message& m, const FieldDescriptor& field, int i) {
  const Reflection& r = *m.GetReflection();
  const bool repeated = field.is_repeated();
  const FieldDescriptor* const f = &field;
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return NumberText(repeated ? r.GetRepeatedInt32(m, f, i) : r.GetInt32(m, f));
    case FieldDescriptor::CPPTYPE_INT64:
      return NumberText(repeated ? r.GetRepeatedInt64(m, f, i) : r.GetInt64(m, f));
    case FieldDescriptor::CPPTYPE_UINT32:
      return NumberText(repeated ? r.GetRepeatedUInt32(m, f, i) : r.GetUInt32(m, f));
    case FieldDescriptor::CPPTYPE_UINT64:
      return NumberText(repeated ? r.GetRepeatedUInt64(m, f, i) : r.GetUInt64(m, f));
    case FieldDescriptor::CPPTYPE_FLOAT:
      return NumberText(repeated ? r.GetRepeatedFloat(m, f, i) : r.GetFloat(m, f));
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return NumberText(repeated ? r.GetRepeatedDouble(m, f, i) : r.GetDouble(m, f));
    case FieldDescriptor::CPPTYPE_ENUM: {
      const int number = repeated ? r.GetRepeatedEnumValue(m, f, i) : r.GetEnumValue(m, f);
      const EnumValueDescriptor* const value = field.enum_type()->FindValueByNumber(number);
      return value == nullptr || number == 0 ? NumberText(number) : ValueName(*value);
    }
    case FieldDescriptor::CPPTYPE_BOOL:
      return (repeated ? r.GetRepeatedBool(m, f, i) : r.GetBool(m, f)) ? "true" : "false";
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return ValueText(r.GetMessage(m, f), *field.message_type()->field(0), 0);
    case FieldDescriptor::CPPTYPE_STRING:
      break;
  }
  return "";
}

}  // namespace

std::string QuotedPiece(std::string_view text) {
  return absl::StrCat("'", absl::CHexEscape(absl::string_view(text.data(), text.size())), "'");
}

std::vector<std::string_view> SplitPieces(std::string_view text, char separator) {
  std::vector<std::string_view> pieces;
  for (;;) {
    const size_t end = text.find(separator);
    pieces.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return pieces;
    text.remove_prefix(end + 1);
  }
}

std::string FieldName(const FieldDescriptor& field) {
  return Hyphens(field.name());
}

absl::Status ReadField(std::string_view text, Message& message, const FieldDescriptor& field) {
  if (!field.is_repeated()) return Store(text, message, field);
  for (std::string_view piece : SplitPieces(text, '/')) {
    if (absl::Status status = Store(piece, message, field); !status.ok()) return status;
  }
  return absl::OkStatus();
}

std::string FieldText(const Message& message, const FieldDescriptor& field) {
  const Reflection& reflection = *message.GetReflection();
  if (!field.is_repeated()) {
    return reflection.HasField(message, &field) ? absl::StrCat(FieldName(field), "=", ValueText(message, field, 0))
                                                : "";
  }
  std::string text;
  for (int i = 0; i < reflection.FieldSize(message, &field); ++i) {
    absl::StrAppend(&text, i == 0 ? FieldName(field) + "=" : "/", ValueText(message, field, i));
  }
  return text;
}

}  // namespace longhaul
