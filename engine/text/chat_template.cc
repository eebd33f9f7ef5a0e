#include "engine/text/chat_template.h"

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/field_error.h"
#include "engine/base/quoted.h"
#include "engine/base/status_macros.h"
#include "engine/base/utf8.h"
#include "engine/text/trim.h"

namespace longhaul {
namespace {

constexpr std::array<std::string_view, 2> kChatMlMarks = {"<|im_start|>", "<|im_end|>"};
constexpr std::array<std::string_view, 4> kLlama3Marks = {"<|begin_of_text|>", "<|start_header_id|>",
                                                          "<|end_header_id|>", "<|eot_id|>"};

absl::Status CheckTurns(const ChatStyle& style, std::span<const ChatTurn> turns) {
  for (size_t i = 0; i < turns.size(); ++i) {
    if (const size_t invalid = FirstInvalidUtf8(turns[i].content); invalid != turns[i].content.size()) {
      return FieldError(absl::StrCat("messages[", i, "].content"), absl::StrCat("not UTF-8 at byte ", invalid));
    }
  }
  if (!style.alternates) return absl::OkStatus();
  const size_t first = turns[0].role == "system" ? 1 : 0;
  for (size_t i = first; i < turns.size(); ++i) {
    const char* const wanted = (i - first) % 2 == 0 ? "user" : "assistant";
    if (turns[i].role != wanted) {
      return FieldError(absl::StrCat("messages[", i, "].role"),
                        absl::StrCat(Quoted(turns[i].role), ", expected ", wanted,
                                     ", as the model's chat template wants them in turn"));
    }
  }
  if (turns.back().role != "user") {
    return FieldError(
        absl::StrCat("messages[", turns.size() - 1, "].role"),
        absl::StrCat(Quoted(turns.back().role), ", expected user in the last, as the model's chat template wants it"));
  }
  return absl::OkStatus();
}

// Special tokens as segments of their own, a user's text between them.
class Renderer {
 public:
  explicit Renderer(const ChatStyle& style) : style_(style) {
    if (!style.bos.empty()) Special(style.bos);
  }

  void Turn(std::string_view role, std::string_view before, std::string_view content) {
    Open(role);
    Text(before);
    Text(content);
    if (style_.family == ChatFamily::kChatMl) {
      Special("<|im_end|>");
      Text("\n");
    } else {
      Special("<|eot_id|>");
    }
  }

  void Open(std::string_view role) {
    if (style_.family == ChatFamily::kChatMl) {
      Special("<|im_start|>");
      Text(role);
      Text("\n");
    } else {
      Special("<|start_header_id|>");
      Text(role);
      Special("<|end_header_id|>");
      Text("\n\n");
    }
  }

  std::vector<Segment> Take() { return std::move(segments_); }

 private:
  void Special(std::string_view name) { segments_.push_back({std::string(name), true}); }
  void Text(std::string_view text) {
    if (!segments_.empty() && !segments_.back().parse_special) {
      segments_.back().text += text;
    } else {
      segments_.push_back({std::string(text), false});
    }
  }

  const ChatStyle& style_;
  std::vector<Segment> segments_;
};

}  // namespace

std::string_view Name(ChatFamily family) {
  return family == ChatFamily::kChatMl ? "chatml" : "llama3";
}

absl::StatusOr<ChatFamily> ParseChatFamily(std::string_view name) {
  for (ChatFamily family : {ChatFamily::kChatMl, ChatFamily::kLlama3}) {
    if (name == Name(family)) return family;
  }
  return absl::InvalidArgumentError(absl::StrCat("chat template ", Quoted(name), " is not one of chatml, llama3"));
}

std::span<const std::string_view> ChatMarks(ChatFamily family) {
  if (family == ChatFamily::kChatMl) return kChatMlMarks;
  return kLlama3Marks;
}

absl::StatusOr<std::vector<Segment>> RenderChat(const ChatStyle& style, std::span<const ChatTurn> turns) {
  LH_RETURN_IF_ERROR(CheckTurns(style, turns));
  Renderer out(style);
  if (turns[0].role != "system" && style.system_turn.has_value()) out.Turn("system", "", *style.system_turn);
  for (size_t i = 0; i < turns.size(); ++i) {
    const bool system = i == 0 && turns[0].role == "system";
    out.Turn(turns[i].role, system ? std::string_view(style.before_system) : "",
             style.trims ? Trim(turns[i].content) : turns[i].content);
  }
  out.Open("assistant");
  return out.Take();
}

}  // namespace longhaul
