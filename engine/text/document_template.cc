#include "engine/text/document_template.h"

#include <iterator>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/base/utf8.h"

namespace longhaul {
namespace {

constexpr std::string_view kDocument = "{document}", kQuestion = "{question}";
constexpr std::string_view kBetween = "\n\n";

// The offset of `placeholder`, which must occur exactly once.
absl::StatusOr<size_t> FindOnce(std::string_view text, std::string_view placeholder) {
  const size_t at = text.find(placeholder);
  const char* wrong = at == std::string_view::npos                               ? " is missing"
                      : text.find(placeholder, at + 1) != std::string_view::npos ? " stands twice"
                                                                                 : nullptr;
  if (wrong == nullptr) return at;
  return absl::InvalidArgumentError(absl::StrCat(ToAbsl(placeholder), wrong, "; a template holds ", ToAbsl(kDocument),
                                                 " once and ", ToAbsl(kQuestion), " once after it"));
}

void Add(std::string_view text, bool parse_special, std::vector<Segment>& segments) {
  if (!text.empty()) segments.push_back({std::string(text), parse_special});
}

}  // namespace

absl::StatusOr<DocumentTemplate> ParseDocumentTemplate(std::string_view text) {
  if (const size_t invalid = FirstInvalidUtf8(text); invalid != text.size()) {
    return absl::InvalidArgumentError(absl::StrCat("not UTF-8 at byte ", invalid));
  }
  LH_ASSIGN_OR_RETURN(const size_t document, FindOnce(text, kDocument));
  LH_ASSIGN_OR_RETURN(const size_t question, FindOnce(text, kQuestion));
  if (question < document) {
    return absl::InvalidArgumentError(absl::StrCat(ToAbsl(kQuestion), " stands before ", ToAbsl(kDocument),
                                                   "; the document comes first, so that what is kept of it does not "
                                                   "depend on the question"));
  }
  const size_t after_document = document + kDocument.size();
  DocumentTemplate parsed;
  parsed.wants_bos = true;
  Add(text.substr(0, document), true, parsed.before);
  Add(text.substr(after_document, question - after_document), true, parsed.between);
  Add(text.substr(question + kQuestion.size()), true, parsed.after);
  return parsed;
}

absl::StatusOr<DocumentTemplate> DefaultDocumentTemplate(const absl::StatusOr<ChatStyle>& style,
                                                         std::optional<std::string_view> system) {
  DocumentTemplate made;
  Add(kBetween, false, made.between);
  if (!style.ok() && system.has_value()) return style.status();
  if (!style.ok()) {
    made.wants_bos = true;
    Add("\n", false, made.after);
    return made;
  }
  // The conversation is rendered with placeholders in the user's turn, and cut there.
  const std::string user = absl::StrCat(ToAbsl(kDocument), ToAbsl(kBetween), ToAbsl(kQuestion));
  std::vector<ChatTurn> turns;
  if (system.has_value()) turns.push_back({"system", *system});
  turns.push_back({"user", user});
  LH_ASSIGN_OR_RETURN(std::vector<Segment> segments, RenderChat(*style, turns));
  // The last segment that holds them: a system message before it may contain the same words.
  size_t turn = segments.size();
  while (turn-- > 0) {
    if (!segments[turn].parse_special && segments[turn].text.find(user) != std::string::npos) break;
  }
  const std::string text = std::move(segments[turn].text);
  const size_t at = text.rfind(user);
  const auto middle = segments.begin() + static_cast<std::ptrdiff_t>(turn);
  made.before.assign(std::make_move_iterator(segments.begin()), std::make_move_iterator(middle));
  Add(std::string_view(text).substr(0, at), false, made.before);
  Add(std::string_view(text).substr(at + user.size()), false, made.after);
  made.after.insert(made.after.end(), std::make_move_iterator(middle + 1), std::make_move_iterator(segments.end()));
  return made;
}

}  // namespace longhaul
