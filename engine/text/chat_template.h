#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/text/tokenizer.h"

namespace longhaul {

// The families of chat templates that are known.
enum class ChatFamily { kNone, kChatMl, kLlama3 };

std::string_view Name(ChatFamily family);  // "", "chatml", "llama3"

// Recognises the family from the Jinja text that a model file holds; kNone when it is unknown or empty.
ChatFamily RecogniseChatFamily(std::string_view jinja);

// Accepts "chatml" and "llama3"; INVALID_ARGUMENT lists them.
absl::StatusOr<ChatFamily> ParseChatFamily(std::string_view name);

// One turn: role (system, user or assistant) and its text, neither of them owned.
struct ChatTurn {
  std::string_view role, content;
};

// The conversation as segments, with the opening of the assistant's turn at the end; a border wherever a special token
// stands, so that text of a user can never become one. `jinja` is the file's template: details that differ inside a
// family (a default system message) follow it. FAILED_PRECONDITION for kNone (the message names the flag
// --chat-template), INVALID_ARGUMENT naming "messages[i].role" on an unknown role, or when there is no message.
absl::StatusOr<std::vector<Segment>> RenderChat(ChatFamily family, std::string_view jinja,
                                                std::span<const ChatTurn> turns);

}  // namespace longhaul
