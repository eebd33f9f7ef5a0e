#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "longhaul/v1/inference.pb.h"

// The short text of a position mode, which the command line, JSON and labels show: the wire's field names with hyphens,
// "rerope:window=2048,log-n=0". Generic over the message: a mode that is added to the wire is known here.
namespace longhaul {

// Every mode's name, joined by ", ".
std::string KnownPositions();

// MODE[:NAME=VALUE[,NAME=VALUE...]]. A name is a field of the mode's message or, for any mode, log-n (its trained
// length), trained-length or allow-beyond-reach. An enum's value is its lower-case name without prefix, a bool's "true"
// or "false", a repeated number's its elements joined by '/'. INVALID_ARGUMENT names the text, the piece and what is
// allowed.
absl::StatusOr<v1::PositionMode> ParsePosition(std::string_view text);

// Modes joined by commas; a piece with '=' but no ':' belongs to the mode before it:
// "none,rerope:window=64,log-n=0,yarn".
absl::StatusOr<std::vector<v1::PositionMode>> ParsePositions(std::string_view text);

// The text that ParsePosition reads back; fields that are not set are left out. "auto" where no kind is set.
std::string PositionText(const v1::PositionMode& mode);

}  // namespace longhaul
