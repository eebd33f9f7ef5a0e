#include "client/io/message_json.h"

#include <google/protobuf/descriptor.h>

#include <charconv>
#include <cmath>
#include <string>

#include "absl/strings/escaping.h"

namespace longhaul {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;
using Json = nlohmann::ordered_json;

// JSON has neither NaN nor infinity.
Json Number(double value) {
  return std::isfinite(value) ? Json(value) : Json();
}

// The digits that are enough for a float: 0.1, not 0.10000000149011612.
Json Number(float value) {
  if (!std::isfinite(value)) return Json();
  char digits[32];
  const char* const end = std::to_chars(digits, digits + sizeof digits, value).ptr;
  double nearest = 0;
  std::from_chars(digits, end, nearest);
  return nearest;
}

Json EnumJson(const FieldDescriptor& field, int number) {
  const auto* const value = field.enum_type()->FindValueByNumber(number);
  return value == nullptr ? Json(number) : Json(value->name());  // one of a newer server
}

// Of a repeated field the element `i`.
Json ValueJson(const Message& m, const FieldDescriptor* f, int i) {
  const Reflection& r = *m.GetReflection();
  const bool repeated = f->is_repeated();
  switch (f->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return repeated ? r.GetRepeatedInt32(m, f, i) : r.GetInt32(m, f);
    case FieldDescriptor::CPPTYPE_INT64:
      return repeated ? r.GetRepeatedInt64(m, f, i) : r.GetInt64(m, f);
    case FieldDescriptor::CPPTYPE_UINT32:
      return repeated ? r.GetRepeatedUInt32(m, f, i) : r.GetUInt32(m, f);
    case FieldDescriptor::CPPTYPE_UINT64:
      return repeated ? r.GetRepeatedUInt64(m, f, i) : r.GetUInt64(m, f);
    case FieldDescriptor::CPPTYPE_FLOAT:
      return Number(repeated ? r.GetRepeatedFloat(m, f, i) : r.GetFloat(m, f));
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return Number(repeated ? r.GetRepeatedDouble(m, f, i) : r.GetDouble(m, f));
    case FieldDescriptor::CPPTYPE_BOOL:
      return repeated ? r.GetRepeatedBool(m, f, i) : r.GetBool(m, f);
    case FieldDescriptor::CPPTYPE_ENUM:
      return EnumJson(*f, repeated ? r.GetRepeatedEnumValue(m, f, i) : r.GetEnumValue(m, f));
    case FieldDescriptor::CPPTYPE_STRING: {
      const std::string text = repeated ? r.GetRepeatedString(m, f, i) : r.GetString(m, f);
      return f->type() == FieldDescriptor::TYPE_BYTES ? absl::Base64Escape(text) : text;
    }
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return MessageJson(repeated ? r.GetRepeatedMessage(m, f, i) : r.GetMessage(m, f));
  }
  return Json();
}

Json ListJson(const Message& m, const FieldDescriptor* f) {
  Json list = Json::array();
  for (int i = 0; i < m.GetReflection()->FieldSize(m, f); ++i) list.push_back(ValueJson(m, f, i));
  return list;
}

}  // namespace

Json MessageJson(const Message& message) {
  const auto& type = *message.GetDescriptor();
  Json json = Json::object();
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor* const field = type.field(i);
    if (field->is_repeated()) {
      json[field->name()] = ListJson(message, field);
    } else if (!field->has_presence() || message.GetReflection()->HasField(message, field)) {
      json[field->name()] = ValueJson(message, field, 0);
    } else if (field->real_containing_oneof() == nullptr) {
      json[field->name()] = nullptr;
    }
  }
  return json;
}

}  // namespace longhaul
