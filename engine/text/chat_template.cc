#include "engine/text/chat_template.h"

#include <array>

#include "absl/strings/str_cat.h"
#include "engine/base/quoted.h"
#include "engine/base/status_macros.h"
#include "engine/base/utf8.h"

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
          absl::StrCat("messages[", i, "].role: ", Quoted(turns[i].role), " is not one of system, user, assistant"));
    }
    if (const size_t invalid = FirstInvalidUtf8(turns[i].content); invalid != turns[i].content.size()) {
      return absl::InvalidArgumentError(absl::StrCat("messages[", i, "].content: not UTF-8 at byte ", invalid));
    }
  }
  return absl::OkStatus();
}

// Where the escape or character at `at` of a Jinja literal ends; appends what it stands for.
size_t ReadLiteralCharacter(std::string_view jinja, size_t at, bool quoted, std::string& text) {
  if (!quoted || jinja[at] != '\\' || at + 1 == jinja.size()) {
    text += jinja[at];
    return at + 1;
  }
  const char escaped = jinja[at + 1];
  text += escaped == 'n' ? '\n' : escaped == 't' ? '\t' : escaped == 'r' ? '\r' : escaped;
  return at + 2;
}

// The system message that a ChatML template writes where the conversation begins without one: in the Jinja text the one
// literal that holds a whole system turn. Empty when there is none.
std::string DefaultSystemMessage(std::string_view jinja) {
  constexpr std::string_view kOpen = "<|im_start|>system", kClose = "<|im_end|>";
  for (size_t at = jinja.find(kOpen); at != std::string_view::npos; at = jinja.find(kOpen, at + 1)) {
    // Text of the template itself, or a string inside an expression, which ends with the quote that it began with.
    const char quote = at > 0 && (jinja[at - 1] == '\'' || jinja[at - 1] == '"') ? jinja[at - 1] : '{';
    std::string turn;
    for (size_t i = at + kOpen.size(); i < jinja.size() && jinja[i] != quote;) {
      if (jinja.substr(i).starts_with(kClose)) {
        if (turn.starts_with('\n')) return turn.substr(1);
        break;
      }
      i = ReadLiteralCharacter(jinja, i, quote != '{', turn);
    }
  }
  return std::string();
}

bool TrimsContents(std::string_view jinja) {
  return jinja.find("| trim") != std::string_view::npos || jinja.find("|trim") != std::string_view::npos;
}

// What Python's str.strip() takes away, which is what Jinja's `trim` is.
constexpr std::string_view kBlanks[] = {" ",      "\t",     "\n",     "\v",     "\f",     "\r",     "\x1c",   "\x1d",
                                        "\x1e",   "\x1f",   "\u0085", "\u00a0", "\u1680", "\u2000", "\u2001", "\u2002",
                                        "\u2003", "\u2004", "\u2005", "\u2006", "\u2007", "\u2008", "\u2009", "\u200a",
                                        "\u2028", "\u2029", "\u202f", "\u205f", "\u3000"};

std::string_view Trim(std::string_view text) {
  for (bool changed = true; changed;) {
    changed = false;
    for (const std::string_view blank : kBlanks) {
      while (text.starts_with(blank)) text.remove_prefix(blank.size()), changed = true;
      while (text.ends_with(blank)) text.remove_suffix(blank.size()), changed = true;
    }
  }
  return text;
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
  const bool trims = TrimsContents(jinja);
  for (const ChatTurn& turn : turns) ChatMlTurn(out, turn.role, trims ? Trim(turn.content) : turn.content);
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

std::vector<Segment> RenderLlama3(std::string_view jinja, std::span<const ChatTurn> turns) {
  Renderer out;
  out.Special("<|begin_of_text|>");
  // Since Llama 3.1 every conversation begins with a system turn that names two dates. The second is a parameter whose
  // default stands in the template; an answer must not depend on the day.
  if (jinja.find("Cutting Knowledge Date") != std::string_view::npos) {
    Llama3Header(out, "system");
    out.Text("Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n");
    if (turns[0].role == "system") {
      out.Text(Trim(turns[0].content));
      turns = turns.subspan(1);
    }
    out.Special("<|eot_id|>");
  }
  for (const ChatTurn& turn : turns) {
    Llama3Header(out, turn.role);
    out.Text(Trim(turn.content));
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
  // With <|im_sep|> it is another family.
  if (holds("<|im_start|>") && holds("<|im_end|>") && !holds("<|im_sep|>")) return ChatFamily::kChatMl;
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
  LH_RETURN_IF_ERROR(CheckTurns(turns));
  switch (family) {
    case ChatFamily::kChatMl:
      return RenderChatMl(jinja, turns);
    case ChatFamily::kLlama3:
      return RenderLlama3(jinja, turns);
    case ChatFamily::kNone:
      break;
  }
  return absl::FailedPreconditionError(
      "the model's chat template is not a known one; start the server with --chat-template chatml or llama3");
}

}  // namespace longhaul
