#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

// Refusals of one field of a request. A field is named by its path on the wire, "stopping.stop_token_ids[2]"; people
// read it in front of the message, programs as a payload of the status.
namespace longhaul {

// INVALID_ARGUMENT "FIELD: PROBLEM".
absl::Status FieldError(std::string_view field, std::string_view problem);

// INVALID_ARGUMENT "FIELD: VALUE is not allowed; it must be ALLOWED".
absl::Status NotAllowed(std::string_view field, const absl::AlphaNum& value, std::string_view allowed);

// What is wrong with `status` is wrong with this field, or with its member where `status` names one: "FIELD: ", or
// "FIELD.", before the message. Code and payloads stay; only an INVALID_ARGUMENT comes to name a field for programs.
absl::Status AtField(std::string_view field, const absl::Status& status);

// The field that a status of the functions above names; none in others.
std::optional<std::string> FieldOf(const absl::Status& status);

}  // namespace longhaul
