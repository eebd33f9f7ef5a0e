#pragma once

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

// Fields of messages as short texts, by reflection: names with hyphens, numbers as the shortest text that reads back,
// an enum's value by its lower-case name without prefix, "true" and "false", a repeated field's elements joined by '/',
// a message of one field as that field.
namespace longhaul {

// "window", "log-n".
std::string FieldName(const google::protobuf::FieldDescriptor& field);

// Sets `field` of `message`. INVALID_ARGUMENT names the value and what is allowed.
absl::Status ReadField(std::string_view text, google::protobuf::Message& message,
                       const google::protobuf::FieldDescriptor& field);

// "NAME=VALUE", whose value ReadField reads; empty when the field is not set.
std::string FieldText(const google::protobuf::Message& message, const google::protobuf::FieldDescriptor& field);

// A piece of a text for a message: in quotes, printable.
std::string QuotedPiece(std::string_view text);

// Always at least one piece.
std::vector<std::string_view> SplitPieces(std::string_view text, char separator);

}  // namespace longhaul
