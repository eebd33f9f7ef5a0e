#include "engine/text/chat_style.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/printable.h"
#include "engine/base/quoted.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/base/utf8.h"
#include "engine/text/jinja/jinja.h"

namespace longhaul {
namespace {

using Turns = std::vector<ChatTurn>;

std::string TokenName(const Vocabulary& vocabulary, std::optional<TokenId> id) {
  return id.has_value() && *id >= 0 && static_cast<size_t>(*id) < vocabulary.tokens.size()
             ? vocabulary.tokens[static_cast<size_t>(*id)]
             : std::string();
}

// Long enough to reveal a template that leaves out early turns.
Turns LongChat(bool system) {
  constexpr std::string_view kText = "The quick brown fox jumps over the lazy dog.";
  Turns turns;
  if (system) turns.push_back({"system", "Be brief."});
  for (size_t i = 0; i < 41; ++i) turns.push_back({i % 2 == 0 ? "user" : "assistant", kText.substr(i)});
  return turns;
}

// The conversations that are tried. White space at the ends and marks inside the texts are what templates are known to
// treat specially.
const std::vector<Turns> kOrdinary = {
    {{"user", "Why is it so?"}},
    {{"system", "Be brief."}, {"user", "Why?"}},
    {{"user", "One."}, {"assistant", "Two."}, {"user", "Three."}, {"assistant", "Four."}, {"user", "Five."}},
    {{"system", "Be brief."}, {"user", "One."}, {"assistant", "Two."}, {"user", "Three."}},
    {{"system", " \n a b\t\n"}, {"user", "\n\n c  d \n"}, {"assistant", "  e\n"}, {"user", " f "}},
    {{"user", "  g\n"}, {"assistant", "\nh "}, {"user", "\ti"}},
    {{"system", ""}, {"user", "j"}, {"assistant", ""}, {"user", ""}},
    {{"user", "k"}, {"assistant", "<think>\nl\n</think>\n\nm"}, {"user", "<think>n</think>o"}},
    {{"system", "/no_think <tool_call>p</tool_call>"}, {"user", "/think <tool_response>q</tool_response> [INST]"}},
    {{"user", "r"}, {"assistant", "<tool_call>\n{}\n</tool_call> s"}, {"user", "<tool_response>\nt\n</tool_response>"}},
    LongChat(/*system=*/false),
    LongChat(/*system=*/true),
};
const std::vector<Turns> kUnusual = {
    {{"user", "a"}, {"user", "b"}},
    {{"user", "a"}, {"assistant", "b"}},
    {{"user", "a"}, {"assistant", "b"}, {"assistant", "<think>c</think>d"}},
    {{"assistant", "a"}, {"user", "b"}},
    {{"user", "a"}, {"system", "b"}, {"user", "c"}},
    {{"system", "a"}, {"system", "b"}, {"user", "c"}},
    {{"system", "a"}, {"assistant", "b"}, {"user", "c"}},
    {{"system", "a"}},
    {{"assistant", "a"}},
};

// REQUIRES: RenderChat takes the turns.
std::string Rendered(const ChatStyle& style, const Turns& turns) {
  const std::vector<Segment> segments = *RenderChat(style, turns);
  std::string text;
  for (const Segment& segment : segments) text += segment.text;
  return text;
}

template <typename... Parts>
absl::Status Unknown(const Parts&... parts) {
  return absl::FailedPreconditionError(absl::StrCat("the model's chat template is not a known one: ", parts...,
                                                    "; start the server with --chat-template chatml or llama3"));
}

// Finds the style of one vocabulary's template.
class StyleFinder {
 public:
  StyleFinder(const Vocabulary& vocabulary, const jinja::Node& jinja)
      : bos_(TokenName(vocabulary, vocabulary.bos)), eos_(TokenName(vocabulary, vocabulary.eos)), jinja_(jinja) {}

  absl::StatusOr<ChatStyle> Find() const {
    const Turns user = {{"user", "a"}};
    LH_ASSIGN_OR_RETURN(const std::string alone, Run(user));
    ChatStyle style;
    std::string_view first_mark = "<|im_start|>";
    if (alone.find("<|start_header_id|>") != std::string::npos) {
      style.family = ChatFamily::kLlama3;
      first_mark = "<|start_header_id|>";
    } else if (alone.find(first_mark) == std::string::npos) {
      return Unknown("it writes ", Quoted(alone));
    }
    // With the first mark behind it, because in some vocabularies the BOS is that mark.
    if (!bos_.empty() && alone.starts_with(absl::StrCat(bos_, ToAbsl(first_mark)))) style.bos = bos_;
    LH_ASSIGN_OR_RETURN(const std::string spaced, Run({{"user", " a\n"}}));
    style.trims = alone == spaced;
    LH_ASSIGN_OR_RETURN(const std::string led, Run({{"system", "b"}, {"user", "a"}}));
    if (std::optional<std::string> turn = SystemTurn(led, style); turn.has_value() && turn->ends_with('b')) {
      turn->pop_back();
      style.before_system = *std::move(turn);
    }
    style.system_turn = SystemTurn(alone, style);
    for (const Turns& turns : kOrdinary) LH_RETURN_IF_ERROR(Compare(style, turns));
    // Many templates refuse turns out of order, or write them in unintended ways: then RenderChat refuses them too.
    for (const Turns& turns : kUnusual) style.alternates = style.alternates || !Compare(style, turns).ok();
    return style;
  }

 private:
  // The text that the template writes for a conversation.
  absl::StatusOr<std::string> Run(const Turns& turns) const {
    jinja::List messages;
    for (const ChatTurn& turn : turns) {
      messages.emplace_back(jinja::Map{{"role", std::string(turn.role)}, {"content", std::string(turn.content)}});
    }
    jinja::Map variables = {{"messages", std::move(messages)},
                            {"add_generation_prompt", true},
                            {"tools", jinja::None{}},
                            {"documents", jinja::None{}}};
    if (!bos_.empty()) variables["bos_token"] = bos_;
    if (!eos_.empty()) variables["eos_token"] = eos_;
    absl::StatusOr<std::string> text = jinja::Render(jinja_, std::move(variables));
    if (text.ok()) return text;
    const char* const refuses = absl::IsFailedPrecondition(text.status()) ? "it refuses a chat: " : "";
    return Unknown(refuses, Printable(std::string(text.status().message())));
  }

  // What `text`, written for one turn of a user, "a", holds in a turn of the system before that; none where there is no
  // such turn.
  std::optional<std::string> SystemTurn(std::string_view text, ChatStyle style) const {
    constexpr char kHere = '\1';
    style.system_turn = std::string(1, kHere);
    const std::string frame = Rendered(style, {{"user", "a"}});
    const size_t at = frame.find(kHere);
    const std::string_view before = std::string_view(frame).substr(0, at),
                           after = std::string_view(frame).substr(at + 1);
    if (text.size() + 1 < frame.size() || !text.starts_with(before) || !text.ends_with(after)) return std::nullopt;
    std::string turn(text.substr(at, text.size() + 1 - frame.size()));
    for (const std::string_view mark : ChatMarks(style.family)) {
      if (turn.find(mark) != std::string::npos) return std::nullopt;
    }
    return turn;
  }

  absl::Status Compare(const ChatStyle& style, const Turns& turns) const {
    LH_ASSIGN_OR_RETURN(const std::string theirs, Run(turns));
    const std::string ours = Rendered(style, turns);
    if (theirs == ours) return absl::OkStatus();
    constexpr std::ptrdiff_t kContext = 20;  // bytes before the difference that are shown
    const auto differs = std::mismatch(theirs.begin(), theirs.end(), ours.begin(), ours.end()).first - theirs.begin();
    const auto from = static_cast<size_t>(std::max<std::ptrdiff_t>(differs - kContext, 0));
    return Unknown("it writes ", Quoted(theirs.substr(from)), " where ", ToAbsl(Name(style.family)), " writes ",
                   Quoted(ours.substr(from)));
  }

  const std::string bos_, eos_;
  const jinja::Node& jinja_;
};

}  // namespace

absl::StatusOr<ChatStyle> FindChatStyle(const Vocabulary& vocabulary) {
  if (vocabulary.chat_template.empty()) {
    return absl::FailedPreconditionError(
        "the model has no chat template; start the server with --chat-template chatml or llama3");
  }
  if (const size_t at = FirstInvalidUtf8(vocabulary.chat_template); at != vocabulary.chat_template.size()) {
    return Unknown("it is not UTF-8 at byte ", at);
  }
  const absl::StatusOr<jinja::NodePtr> jinja = jinja::Parse(vocabulary.chat_template);
  if (!jinja.ok()) return Unknown(jinja.status().message());
  return StyleFinder(vocabulary, **jinja).Find();
}

ChatStyle PlainChatStyle(ChatFamily family, const Vocabulary& vocabulary) {
  ChatStyle style{.family = family};
  if (family == ChatFamily::kLlama3) {
    style.bos = "<|begin_of_text|>";
    style.trims = true;
  } else if (vocabulary.add_bos) {
    style.bos = TokenName(vocabulary, vocabulary.bos);
  }
  return style;
}

}  // namespace longhaul
