#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/text/tokenizer.h"

namespace longhaul {

// The families of chat templates that are known.
enum class ChatFamily { kChatMl, kLlama3 };

std::string_view Name(ChatFamily family);  // "chatml", "llama3"

// Accepts "chatml" and "llama3"; INVALID_ARGUMENT lists them.
absl::StatusOr<ChatFamily> ParseChatFamily(std::string_view name);

// The special tokens that a family writes.
std::span<const std::string_view> ChatMarks(ChatFamily family);

// How conversations are written: the family, and what models of a family differ in.
struct ChatStyle {
  ChatFamily family = ChatFamily::kChatMl;
  std::string bos{};                         // the special token before the first turn; empty: none
  std::string before_system{};               // stands in the system's turn, before its text
  std::optional<std::string> system_turn{};  // what the system's turn holds when a conversation begins without one
  bool trims = false;                        // white space at the ends of the texts is left out
  bool alternates = false;                   // only a user and the assistant in turn, the user last; before, a system
};

// One turn: role (system, user or assistant) and its text, neither of them owned.
struct ChatTurn {
  std::string_view role, content;
};

// The conversation as segments, with the opening of the assistant's turn at the end; a border wherever a special token
// stands, so that text of a user can never become one. INVALID_ARGUMENT naming "messages[i].role" on one whose turn it
// is not, "messages[i].content" on what is not UTF-8. REQUIRES: there is a turn, and all roles are known.
absl::StatusOr<std::vector<Segment>> RenderChat(const ChatStyle& style, std::span<const ChatTurn> turns);

}  // namespace longhaul
