#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "client/client.h"
#include "proto/position_text.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

// Flags that several subcommands share, and their values.
namespace longhaul {

// Flags of every subcommand.
struct Common {
  std::string target = "127.0.0.1:50051";
  bool json = false;
  double timeout = 0;
  std::string request_id;

  CallOptions call() const { return {timeout, request_id}; }
};

// A prompt from a file, and how it is taken.
struct PromptFile {
  std::string path;  // "-": standard input; empty: none
  bool keep_newline = false;
};

struct PromptFlags {
  std::string text;
  const CLI::Option* text_option = nullptr;
  PromptFile file;

  // The prompt given on the command line, which may be an empty text. REQUIRES: the command line was parsed.
  std::optional<std::string> given_text() const;
  // Whether standard input is not asked for the prompt.
  bool given() const { return !file.path.empty() || given_text().has_value(); }
};

// --target, --json and --timeout.
void AddConnection(CLI::App& command, Common& common);
// --request-id.
void AddRequestId(CLI::App& command, Common& common);
// The prompt itself, and AddPromptFile.
void AddPrompt(CLI::App& command, PromptFlags& flags);
// --prompt-file and --keep-newline.
void AddPromptFile(CLI::App& command, PromptFile& file);
// --position.
void AddPosition(CLI::App& command, std::string& position);
// --priority.
void AddPriority(CLI::App& command, int32_t& priority);

// A prompt: the file's text and after it the given one, or the one of them that there is, else standard input (a
// terminal is told that it is read). INVALID_ARGUMENT when it cannot be read, is no text, or is empty.
absl::StatusOr<std::string> ReadPrompt(const std::optional<std::string>& text, const PromptFile& file);
absl::StatusOr<std::string> ReadPrompt(const PromptFlags& flags);

// Leaves the request's position as it is where none was given.
template <typename Message>
absl::Status FillPosition(const std::string& text, Message& request) {
  if (text.empty()) return absl::OkStatus();
  absl::StatusOr<v1::PositionMode> mode = ParsePosition(text);
  if (!mode.ok()) return absl::InvalidArgumentError(absl::StrCat("--position: ", mode.status().message()));
  *request.mutable_position() = *std::move(mode);
  return absl::OkStatus();
}

}  // namespace longhaul
