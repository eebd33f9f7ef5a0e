#include "proto/position_text.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "proto/field_text.h"

namespace longhaul {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::OneofDescriptor;

// Declared oneofs come first; those that `optional` makes follow.
const OneofDescriptor& Kinds() {
  return *v1::PositionMode::descriptor()->oneof_decl(0);
}

// What may stand after the mode's name: the fields of its own message, then those of any mode.
std::vector<const FieldDescriptor*> Parameters(const FieldDescriptor& kind) {
  std::vector<const FieldDescriptor*> parameters;
  for (int i = 0; i < kind.message_type()->field_count(); ++i) parameters.push_back(kind.message_type()->field(i));
  const Descriptor& common = *v1::PositionMode::descriptor();
  for (int i = 0; i < common.field_count(); ++i) {
    if (common.field(i)->real_containing_oneof() == nullptr) parameters.push_back(common.field(i));
  }
  return parameters;
}

std::string NameList(const std::vector<const FieldDescriptor*>& fields) {
  return absl::StrJoin(fields, ", ", [](std::string* out, const FieldDescriptor* field) { *out += FieldName(*field); });
}

absl::Status ParseParameter(std::string_view piece, const FieldDescriptor& kind, v1::PositionMode& mode,
                            std::set<std::string_view>& given) {
  const size_t equals = piece.find('=');
  const std::string_view name = piece.substr(0, equals);
  const std::vector<const FieldDescriptor*> parameters = Parameters(kind);
  const auto field =
      std::find_if(parameters.begin(), parameters.end(), [&](const auto* f) { return FieldName(*f) == name; });
  if (field == parameters.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat(QuotedPiece(name), " is no parameter of ", FieldName(kind), "; there are ", NameList(parameters)));
  }
  if (equals == std::string_view::npos) {
    return absl::InvalidArgumentError(
        absl::StrCat(FieldName(**field), " has no value; write ", FieldName(**field), "=VALUE"));
  }
  if (!given.insert(name).second)
    return absl::InvalidArgumentError(absl::StrCat(FieldName(**field), " is given twice"));
  Message& owner = (*field)->containing_type() == mode.GetDescriptor()
                       ? static_cast<Message&>(mode)
                       : *mode.GetReflection()->MutableMessage(&mode, &kind);
  const absl::Status status = ReadField(piece.substr(equals + 1), owner, **field);
  if (status.ok()) return status;
  return absl::InvalidArgumentError(absl::StrCat(FieldName(**field), ": ", status.message()));
}

}  // namespace

std::string KnownPositions() {
  std::vector<const FieldDescriptor*> kinds;
  for (int i = 0; i < Kinds().field_count(); ++i) kinds.push_back(Kinds().field(i));
  return NameList(kinds);
}

absl::StatusOr<v1::PositionMode> ParsePosition(std::string_view text) {
  const size_t colon = text.find(':');
  const std::string_view name = text.substr(0, colon);
  for (int i = 0; i < Kinds().field_count(); ++i) {
    const FieldDescriptor& kind = *Kinds().field(i);
    if (FieldName(kind) != name) continue;
    v1::PositionMode mode;
    mode.GetReflection()->MutableMessage(&mode, &kind);
    if (colon == std::string_view::npos) return mode;
    std::set<std::string_view> given;
    for (std::string_view piece : SplitPieces(text.substr(colon + 1), ',')) {
      const absl::Status status = ParseParameter(piece, kind, mode, given);
      if (!status.ok()) return absl::InvalidArgumentError(absl::StrCat(QuotedPiece(text), ": ", status.message()));
    }
    return mode;
  }
  return absl::InvalidArgumentError(
      absl::StrCat(QuotedPiece(text), ": ", QuotedPiece(name), " is no position mode; there are ", KnownPositions()));
}

absl::StatusOr<std::vector<v1::PositionMode>> ParsePositions(std::string_view text) {
  std::vector<std::string> modes;
  for (std::string_view piece : SplitPieces(text, ',')) {
    const bool starts_mode = piece.find('=') == std::string_view::npos || piece.find(':') != std::string_view::npos;
    if (starts_mode) {
      modes.emplace_back(piece);
    } else if (modes.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat(QuotedPiece(text), ": no mode stands before the parameter ", QuotedPiece(piece)));
    } else {
      std::string& mode = modes.back();
      absl::StrAppend(&mode, mode.find(':') == std::string::npos ? ":" : ",", std::string(piece));
    }
  }
  std::vector<v1::PositionMode> parsed;
  for (const std::string& mode : modes) {
    absl::StatusOr<v1::PositionMode> one = ParsePosition(mode);
    if (!one.ok()) return one.status();
    parsed.push_back(*std::move(one));
  }
  return parsed;
}

std::string PositionText(const v1::PositionMode& mode) {
  const FieldDescriptor* kind = mode.GetReflection()->GetOneofFieldDescriptor(mode, &Kinds());
  if (kind == nullptr) kind = Kinds().field(0);  // auto: nothing of it is set
  std::string text = FieldName(*kind);
  char separator = ':';
  for (const FieldDescriptor* field : Parameters(*kind)) {
    const Message& owner = field->containing_type() == mode.GetDescriptor()
                               ? static_cast<const Message&>(mode)
                               : mode.GetReflection()->GetMessage(mode, kind);
    const std::string parameter = FieldText(owner, *field);
    if (parameter.empty()) continue;
    absl::StrAppend(&text, std::string(1, separator), parameter);
    separator = ',';
  }
  return text;
}

}  // namespace longhaul
