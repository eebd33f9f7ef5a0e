#include "engine/text/chat_template.h"

#include <array>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "engine/base/quoted.h"
#include "engine/base/strings.h"

namespace longhaul {
namespace {

constexpr std::array<std::string_view, 3> kRoles = {"system", "user", "assistant"};

absl::Status CheckTurns(std::span<const ChatTurn> turns) {
  if (turns.empty()) return absl::InvalidArgumentError("messages: the conversation is empty");
  for (size_t i = 0; i < turns.size(); ++i) {
    bool known = false;
    for (std::string_view role : kRoles) known = known || turns[i].role == role;
    if (!known) {
      return absl::InvalidArgumentError(
          absl::StrCat("messages[", i, "].role is ", Quoted(turns[i].role), ", not one of system, user, assistant"));
    }
  }
  return absl::OkStatus();
}

// The system message that a ChatML template writes where the conversation begins without one; empty when it has none.
// In the Jinja text it stands as a literal between "<|im_start|>system\n" and "<|im_end|>".
std::string DefaultSystemMessage(std::string_view jinja) {
  if (jinja.find("messages[0]['role'] != 'system'") == std::string_view::npos) return std::string();
  for (const std::string_view open :
       {std::string_view("<|im_start|>system\n"), std::string_view("<|im_start|>system\\n")}) {
    const size_t at = jinja.find(open);
    if (at == std::string_view::npos) continue;
    const size_t begin = at + open.size();
    const size_t end = jinja.find("<|im_end|>", begin);
    if (end != std::string_view::npos) return std::string(jinja.substr(begin, end - begin));
  }
  return std::string();
}

// Special tokens as segments of their own, a user's text between them.
class Renderer {
 public:
  void Special(std::string_view name) { segments_.push_back({std::string(name), true}); }
  void Text(std::string_view text) {
    if (!segments_.empty() && !segments_.back().parse_special) {
      segments_.back().text += text;
    } else {
      segments_.push_back({std::string(text), false});
    }
  }
  std::vector<Segment> Take() { return std::move(segments_); }

 private:
  std::vector<Segment> segments_;
};

void ChatMlTurn(Renderer& out, std::string_view role, std::string_view content) {
  out.Special("<|im_start|>");
  out.Text(role);
  out.Text("\n");
  out.Text(content);
  out.Special("<|im_end|>");
  out.Text("\n");
}

std::vector<Segment> RenderChatMl(std::string_view jinja, std::span<const ChatTurn> turns) {
  Renderer out;
  if (turns[0].role != "system") {
    const std::string system = DefaultSystemMessage(jinja);
    if (!system.empty()) ChatMlTurn(out, "system", system);
  }
  for (const ChatTurn& turn : turns) ChatMlTurn(out, turn.role, turn.content);
  out.Special("<|im_start|>");
  out.Text("assistant\n");
  return out.Take();
}

void Llama3Header(Renderer& out, std::string_view role) {
  out.Special("<|start_header_id|>");
  out.Text(role);
  out.Special("<|end_header_id|>");
  out.Text("\n\n");
}

std::vector<Segment> RenderLlama3(std::span<const ChatTurn> turns) {
  Renderer out;
  out.Special("<|begin_of_text|>");
  for (const ChatTurn& turn : turns) {
    Llama3Header(out, turn.role);
    out.Text(ToStd(absl::StripAsciiWhitespace(turn.content)));
    out.Special("<|eot_id|>");
  }
  Llama3Header(out, "assistant");
  return out.Take();
}

}  // namespace

std::string_view Name(ChatFamily family) {
  switch (family) {
    case ChatFamily::kNone:
      return "";
    case ChatFamily::kChatMl:
      return "chatml";
    case ChatFamily::kLlama3:
      return "llama3";
  }
  return "";
}

ChatFamily RecogniseChatFamily(std::string_view jinja) {
  const auto holds = [&](std::string_view text) { return jinja.find(text) != std::string_view::npos; };
  if (holds("<|start_header_id|>") && holds("<|eot_id|>")) return ChatFamily::kLlama3;
  if (holds("<|im_start|>") && holds("<|im_end|>")) return ChatFamily::kChatMl;
  return ChatFamily::kNone;
}

absl::StatusOr<ChatFamily> ParseChatFamily(std::string_view name) {
  for (ChatFamily family : {ChatFamily::kChatMl, ChatFamily::kLlama3}) {
    if (name == Name(family)) return family;
  }
  return absl::InvalidArgumentError(absl::StrCat("chat template ", Quoted(name), " is not one of chatml, llama3"));
}

absl::StatusOr<std::vector<Segment>> RenderChat(ChatFamily family, std::string_view jinja,
                                                std::span<const ChatTurn> turns) {
  if (absl::Status status = CheckTurns(turns); !status.ok()) return status;
  switch (family) {
    case ChatFamily::kChatMl:
      return RenderChatMl(jinja, turns);
    case ChatFamily::kLlama3:
      return RenderLlama3(turns);
    case ChatFamily::kNone:
      break;
  }
  return absl::FailedPreconditionError(
      "the model's chat template is not a known one; start the server with --chat-template chatml or llama3");
}

}  // namespace longhaul
