#include "engine/text/pre_tokenizer.h"

#include <pcre2.h>

#include <array>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "engine/base/quoted.h"
#include "engine/base/status_macros.h"

namespace longhaul {
namespace {

// Unicode's White_Space, for the inside of a class. PCRE2's \s also holds U+180E, which is no white space any more.
constexpr const char* kSpace = R"(\t-\r \x{85}\p{Z})";

// Every pattern matches at least one character.
constexpr const char* kGpt2 =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^SPACE\p{L}\p{N}]+|[SPACE]+(?![^SPACE])|[SPACE]+)";
// Digits are cut out first; the rest is cut as by GPT-2, with every digit acting as an end of the text.
constexpr const char* kSmolLm =
    R"(\p{N}|'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?[^SPACE\p{L}\p{N}]+|[SPACE]+(?![^SPACE\p{N}])|[SPACE]+)";
constexpr const char* kLlama3 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^SPACE\p{L}\p{N}]+[\r\n]*|)"
    R"([SPACE]*[\r\n]+|[SPACE]+(?![^SPACE])|[SPACE]+)";
constexpr const char* kQwen2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^SPACE\p{L}\p{N}]+[\r\n]*|)"
    R"([SPACE]*[\r\n]+|[SPACE]+(?![^SPACE])|[SPACE]+)";

// A pre-tokenizer is a list of patterns: each cuts every piece of the one before into its matches and what lies
// between. SPACE stands for kSpace.
struct Recipe {
  const char* name;
  std::array<const char*, 4> patterns;
  bool ignores_merges;
};
constexpr Recipe kRecipes[] = {
    {"smollm", {kSmolLm}, false},
    {"gpt-2", {kGpt2}, false},
    {"llama-bpe", {kLlama3}, true},
    {"qwen2", {kQwen2}, false},
    {"default", {R"([\p{P}\$\+<=>\^~\|]+)", kGpt2, R"(\p{N}+)", R"([0-9][0-9][0-9])"}, false},
};

}  // namespace

class PreTokenizer::Pattern {
 public:
  static absl::StatusOr<std::unique_ptr<Pattern>> Compile(const char* text) {
    const std::string pattern = absl::StrReplaceAll(text, {{"SPACE", kSpace}});
    auto made = std::make_unique<Pattern>();
    int error = 0;
    PCRE2_SIZE offset = 0;
    made->code_ = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), PCRE2_UTF | PCRE2_UCP,
                                &error, &offset, nullptr);
    made->context_ = pcre2_match_context_create(nullptr);
    if (made->code_ == nullptr || made->context_ == nullptr) {
      return absl::InternalError(absl::StrCat("a pre-tokenizer's pattern: PCRE2 error ", error, " at ", offset));
    }
    // Where there is no JIT the interpreter does the same, only slower.
    pcre2_jit_compile(made->code_, PCRE2_JIT_COMPLETE);
    // No match limits: a run of spaces is backtracked over once, so the work is linear in the text.
    pcre2_set_match_limit(made->context_, UINT32_MAX);
    pcre2_set_depth_limit(made->context_, UINT32_MAX);
    pcre2_set_heap_limit(made->context_, UINT32_MAX);
    return made;
  }
  Pattern() = default;
  Pattern(const Pattern&) = delete;
  Pattern& operator=(const Pattern&) = delete;
  ~Pattern() {
    pcre2_match_context_free(context_);
    pcre2_code_free(code_);
  }

  // Calls `piece` with the matches and what lies between them; stops at its first error.
  absl::Status Split(std::string_view text, absl::FunctionRef<absl::Status(std::string_view)> piece) const {
    const std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> match(pcre2_match_data_create(1, nullptr),
                                                                                    pcre2_match_data_free);
    if (match == nullptr) return absl::ResourceExhaustedError("no memory for the pre-tokenizer");
    size_t done = 0;
    while (done < text.size()) {
      const auto find = [&](uint32_t options) {
        return pcre2_match(code_, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), done,
                           PCRE2_NO_UTF_CHECK | options, match.get(), context_);
      };
      int result = find(0);
      if (result == PCRE2_ERROR_JIT_STACKLIMIT) result = find(PCRE2_NO_JIT);
      if (result == PCRE2_ERROR_NOMATCH) return piece(text.substr(done));
      if (result < 0) return absl::InternalError(absl::StrCat("the pre-tokenizer gave up: PCRE2 error ", result));
      const PCRE2_SIZE* const ends = pcre2_get_ovector_pointer(match.get());
      if (ends[0] > done) LH_RETURN_IF_ERROR(piece(text.substr(done, ends[0] - done)));
      LH_RETURN_IF_ERROR(piece(text.substr(ends[0], ends[1] - ends[0])));
      done = ends[1];
    }
    return absl::OkStatus();
  }

 private:
  pcre2_code* code_ = nullptr;
  pcre2_match_context* context_ = nullptr;
};

PreTokenizer::PreTokenizer(bool ignores_merges) : ignores_merges_(ignores_merges) {}
PreTokenizer::~PreTokenizer() = default;

absl::StatusOr<std::unique_ptr<PreTokenizer>> PreTokenizer::Create(std::string_view name) {
  std::string known;
  for (const Recipe& recipe : kRecipes) {
    if (name != recipe.name) {
      absl::StrAppend(&known, known.empty() ? "" : ", ", recipe.name);
      continue;
    }
    auto made = std::unique_ptr<PreTokenizer>(new PreTokenizer(recipe.ignores_merges));
    for (const char* text : recipe.patterns) {
      if (text == nullptr) break;
      LH_ASSIGN_OR_RETURN(auto pattern, Pattern::Compile(text));
      made->patterns_.push_back(std::move(pattern));
    }
    return made;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("tokenizer.ggml.pre: the pre-tokenizer ", Quoted(name), " is not known; known are ", known));
}

absl::Status PreTokenizer::Split(std::string_view text, absl::FunctionRef<absl::Status(std::string_view)> piece) const {
  return Split(text, 0, piece);
}

absl::Status PreTokenizer::Split(std::string_view text, size_t pattern,
                                 absl::FunctionRef<absl::Status(std::string_view)> piece) const {
  if (pattern < patterns_.size()) {
    return patterns_[pattern]->Split(text, [&](std::string_view part) { return Split(part, pattern + 1, piece); });
  }
  return piece(text);
}

}  // namespace longhaul
