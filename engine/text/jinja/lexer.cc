#include "engine/text/jinja/lexer.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "engine/base/quoted.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"

namespace longhaul::jinja {
namespace {

constexpr std::string_view kSpaces = " \t\n\v\f\r";
constexpr std::string_view kLongSymbols[] = {"==", "!=", "<=", ">="};
constexpr std::string_view kShortSymbols = "+-~%<>=()[]{}.,:|";
constexpr size_t kMaxName = 64;  // bounds the cost of looking a name up

class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) {}

  absl::StatusOr<std::vector<Token>> Run() {
    while (at_ < text_.size()) {
      const size_t tag = FindTag();
      const std::string_view opening = text_.substr(tag, 3), plain = text_.substr(at_, tag - at_);
      size_t kept = plain.size();
      if (opening.ends_with('-')) {
        kept = plain.find_last_not_of(kSpaces) + 1;
      } else if (opening.starts_with("{%") || opening.starts_with("{#")) {  // without the indent where it begins a line
        const size_t end = plain.find_last_not_of(" \t") + 1, from = at_ + end;
        if (from == 0 || text_[from - 1] == '\n') kept = end;
      }
      if (kept > 0) Add(TokenKind::kText, std::string(plain.substr(0, kept)));
      Advance(tag);
      if (tag < text_.size()) LH_RETURN_IF_ERROR(ReadTag(opening[1]));
    }
    Add(TokenKind::kEnd, "");
    return std::move(tokens_);
  }

 private:
  absl::Status Error(std::string_view what) const {
    return absl::InvalidArgumentError(absl::StrCat("line ", line_, ": ", ToAbsl(what)));
  }

  void Add(TokenKind kind, std::string text) { tokens_.push_back({kind, std::move(text), line_}); }

  void Advance(size_t to) {
    const std::string_view passed = text_.substr(at_, to - at_);
    line_ += static_cast<int>(std::count(passed.begin(), passed.end(), '\n'));
    at_ = to;
  }

  void SkipSpaces() { Advance(std::min(text_.find_first_not_of(kSpaces, at_), text_.size())); }

  size_t FindTag() const {
    for (size_t i = at_; (i = text_.find('{', i)) != std::string_view::npos; ++i) {
      if (i + 1 < text_.size() && (text_[i + 1] == '{' || text_[i + 1] == '%' || text_[i + 1] == '#')) return i;
    }
    return text_.size();
  }

  absl::Status ReadTag(char kind) {
    if (kind == '#') {
      const size_t end = text_.find("#}", at_ + 2);
      if (end == std::string_view::npos) return Error("a comment does not end");
      EndTag(end, 2, text_[end - 1] == '-' && end > at_ + 2, /*takes_newline=*/true);
      return absl::OkStatus();
    }
    const bool block = kind == '%';
    Add(block ? TokenKind::kBlockBegin : TokenKind::kOutputBegin, "");
    Advance(at_ + 2);
    if (text_.substr(at_).starts_with('-')) Advance(at_ + 1);
    const std::string_view closing = block ? "%}" : "}}";
    for (int braces = 0;;) {
      SkipSpaces();
      const std::string_view rest = text_.substr(at_);
      if (rest.empty()) return Error("a tag does not end");
      const size_t signs = rest[0] == '-' ? 1 : 0;
      if (rest.substr(signs).starts_with(closing) && (block || braces == 0)) {
        Add(TokenKind::kWord, std::string(closing));
        EndTag(at_, signs + 2, signs > 0, block);
        return absl::OkStatus();
      }
      if (rest[0] == '{') ++braces;
      if (rest[0] == '}') --braces;
      LH_RETURN_IF_ERROR(ReadToken(rest));
    }
  }

  // Ends a tag with `length` characters at `at`, and skips the white space after it as the arguments say.
  void EndTag(size_t at, size_t length, bool takes_spaces, bool takes_newline) {
    Advance(at + length);
    if (takes_spaces) {
      SkipSpaces();
    } else if (takes_newline && text_.substr(at_).starts_with('\n')) {
      Advance(at_ + 1);
    }
  }

  absl::Status ReadToken(std::string_view rest) {
    const auto first = static_cast<unsigned char>(rest[0]);
    if (first == '\'' || first == '"') return ReadString(rest);
    const auto belongs = [](char c) { return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_'; };
    auto length = static_cast<size_t>(std::find_if_not(rest.begin(), rest.end(), belongs) - rest.begin());
    if (length > kMaxName) return Error("a name that is too long");
    if (length == 0) {
      length = std::count(std::begin(kLongSymbols), std::end(kLongSymbols), rest.substr(0, 2)) > 0 ? 2 : 1;
      const bool known = length == 2 || kShortSymbols.find(rest[0]) != std::string_view::npos;
      if (!known) return Error("unexpected " + Quoted(rest.substr(0, 1)));
    }
    Add(absl::ascii_isdigit(first) ? TokenKind::kNumber : TokenKind::kWord, std::string(rest.substr(0, length)));
    Advance(at_ + length);
    return absl::OkStatus();
  }

  absl::Status ReadString(std::string_view rest) {
    std::string text;
    for (size_t i = 1; i < rest.size(); ++i) {
      if (rest[i] == rest[0]) {
        Add(TokenKind::kString, std::move(text));
        Advance(at_ + i + 1);
        return absl::OkStatus();
      }
      if (rest[i] != '\\') {
        text += rest[i];
        continue;
      }
      constexpr std::string_view kEscapes = "ntr\\'\"", kMeanings = "\n\t\r\\'\"";
      const size_t which = ++i < rest.size() ? kEscapes.find(rest[i]) : std::string_view::npos;
      if (which == std::string_view::npos) return Error("an escape that is not known in a string");
      text += kMeanings[which];
    }
    return Error("a string does not end");
  }

  const std::string_view text_;
  size_t at_ = 0;
  int line_ = 1;
  std::vector<Token> tokens_;
};

}  // namespace

absl::StatusOr<std::vector<Token>> Tokenize(std::string_view text) {
  std::string lines = absl::StrReplaceAll(ToAbsl(text), {{"\r\n", "\n"}, {"\r", "\n"}});
  if (lines.ends_with('\n')) lines.pop_back();
  return Lexer(lines).Run();
}

}  // namespace longhaul::jinja
