#include "engine/text/pre_tokenizer.h"

#include <pcre2.h>

#include <array>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/quoted.h"
#include "engine/base/status_macros.h"

namespace longhaul {
namespace {

constexpr const char* kGpt2 = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr const char* kLlama3 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kQwen2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

// A pre-tokenizer is a list of patterns: each cuts every piece of the one before into its matches and what lies
// between.
struct Recipe {
  const char* name;
  std::array<const char*, 4> patterns;
  bool ignores_merges;
};
constexpr Recipe kRecipes[] = {
    // Digits stand alone before anything else.
    {"smollm", {R"(\p{N})", kGpt2}, false},
    {"gpt-2", {kGpt2}, false},
    {"llama-bpe", {kLlama3}, true},
    {"qwen2", {kQwen2}, false},
    {"default", {R"([\p{P}\$\+<=>\^~\|]+)", kGpt2, R"(\p{N}+)", R"([0-9][0-9][0-9])"}, false},
};

}  // namespace

class PreTokenizer::Pattern {
 public:
  static absl::StatusOr<std::unique_ptr<Pattern>> Compile(const char* pattern) {
    int error = 0;
    PCRE2_SIZE offset = 0;
    pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern), PCRE2_ZERO_TERMINATED,
                                     PCRE2_UTF | PCRE2_UCP | PCRE2_NO_UTF_CHECK, &error, &offset, nullptr);
    if (code == nullptr) return absl::InternalError(absl::StrCat("pre-tokenizer pattern: PCRE2 error ", error));
    // Where there is no JIT the interpreter does the same, only slower.
    pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
    return std::unique_ptr<Pattern>(new Pattern(code));
  }
  ~Pattern() { pcre2_code_free(code_); }

  absl::Status Split(std::string_view text, std::vector<std::string_view>& pieces) const {
    const std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> match(
        pcre2_match_data_create_from_pattern(code_, nullptr), pcre2_match_data_free);
    const auto subject = reinterpret_cast<PCRE2_SPTR>(text.data());
    size_t done = 0;
    while (done < text.size()) {
      int result = pcre2_match(code_, subject, text.size(), done, PCRE2_NO_UTF_CHECK, match.get(), nullptr);
      if (result == PCRE2_ERROR_JIT_STACKLIMIT) {
        result =
            pcre2_match(code_, subject, text.size(), done, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, match.get(), nullptr);
      }
      if (result == PCRE2_ERROR_NOMATCH) break;
      if (result < 0) return absl::InternalError(absl::StrCat("the pre-tokenizer gave up: PCRE2 error ", result));
      const PCRE2_SIZE* const ends = pcre2_get_ovector_pointer(match.get());
      if (ends[0] > done) pieces.push_back(text.substr(done, ends[0] - done));
      pieces.push_back(text.substr(ends[0], ends[1] - ends[0]));
      done = ends[1];
    }
    if (done < text.size()) pieces.push_back(text.substr(done));
    return absl::OkStatus();
  }

 private:
  explicit Pattern(pcre2_code* code) : code_(code) {}
  pcre2_code* code_;
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

absl::Status PreTokenizer::Split(std::string_view text, std::vector<std::string_view>& pieces) const {
  std::vector<std::string_view> before = {text}, after;
  for (const auto& pattern : patterns_) {
    after.clear();
    for (std::string_view piece : before) LH_RETURN_IF_ERROR(pattern->Split(piece, after));
    before.swap(after);
  }
  pieces.insert(pieces.end(), before.begin(), before.end());
  return absl::OkStatus();
}

}  // namespace longhaul
