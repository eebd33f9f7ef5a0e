#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// Texts as a user gives them: checked here, where the file's name is known, and not first by the wire.
namespace longhaul {

// OK for UTF-8 text, NUL bytes included. INVALID_ARGUMENT names `name`, the first wrong byte and what the text looks
// like: UTF-16, a binary file, another encoding.
absl::Status CheckText(const std::string& name, std::string_view text);

// The text of a file ("-": standard input) without a byte order mark. INVALID_ARGUMENT names `flag` and the file, and
// what it is where that is no text: UTF-16, a PDF, an archive.
absl::StatusOr<std::string> ReadText(const std::string& flag, const std::string& path);

// Takes one line break off the end, with which editors and echo end a text.
void DropFinalNewline(std::string& text);

}  // namespace longhaul
