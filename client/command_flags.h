#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "client/client.h"
#include "proto/position_text.h"

namespace CLI {
class App;
}

// Flags that several subcommands have, and what they come to.
namespace longhaul {

// What every subcommand has.
struct Common {
  std::string target = "127.0.0.1:50051";
  bool json = false;
  double timeout = 0;
  std::string request_id;

  CallOptions call() const { return {timeout, request_id}; }
};

struct PromptFlags {
  std::string text, file;
};

// --target, --json and --timeout.
void AddConnection(CLI::App& command, Common& common);
// --request-id.
void AddRequestId(CLI::App& command, Common& common);
// The prompt itself and --prompt-file.
void AddPrompt(CLI::App& command, PromptFlags& flags);
// --position.
void AddPosition(CLI::App& command, std::string& position);
// --priority.
void AddPriority(CLI::App& command, int32_t& priority);

// All that a file holds. INVALID_ARGUMENT, naming `flag`, when it cannot be read.
absl::StatusOr<std::string> ReadFile(const std::string& flag, const std::string& file);

// The text of a prompt, from wherever the flags say. INVALID_ARGUMENT when it cannot be read.
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
