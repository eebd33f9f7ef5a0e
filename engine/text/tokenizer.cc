#include "engine/text/tokenizer.h"

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/quoted.h"
#include "engine/base/status_macros.h"
#include "engine/text/bpe.h"
#include "engine/text/byte_alphabet.h"
#include "engine/text/pre_tokenizer.h"
#include "engine/text/utf8.h"

namespace longhaul {
namespace {

// Names of control tokens that end an answer in the known families.
constexpr std::array<std::string_view, 5> kEndNames = {"<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|end_of_text|>",
                                                       "<|eom_id|>"};

absl::Status CheckOptionalId(const char* key, std::optional<TokenId> id, size_t size) {
  if (!id.has_value() || (*id >= 0 && static_cast<size_t>(*id) < size)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(key, " is ", *id, ", which is outside the vocabulary: 0 to ", size - 1));
}

absl::Status Check(const Vocabulary& vocabulary) {
  const size_t size = vocabulary.tokens.size();
  if (vocabulary.model != "gpt2") {
    return absl::InvalidArgumentError(
        absl::StrCat("tokenizer.ggml.model is ", Quoted(vocabulary.model), "; supported is 'gpt2' (byte-level BPE)"));
  }
  if (size == 0) return absl::InvalidArgumentError("tokenizer.ggml.tokens: the vocabulary is empty");
  if (vocabulary.kinds.size() != size) {
    return absl::InvalidArgumentError(absl::StrCat("tokenizer.ggml.token_type has ", vocabulary.kinds.size(),
                                                   " entries, tokenizer.ggml.tokens ", size));
  }
  LH_RETURN_IF_ERROR(CheckOptionalId("tokenizer.ggml.bos_token_id", vocabulary.bos, size));
  LH_RETURN_IF_ERROR(CheckOptionalId("tokenizer.ggml.eos_token_id", vocabulary.eos, size));
  LH_RETURN_IF_ERROR(CheckOptionalId("tokenizer.ggml.eot_token_id", vocabulary.eot, size));
  LH_RETURN_IF_ERROR(CheckOptionalId("tokenizer.ggml.unknown_token_id", vocabulary.unknown, size));
  if (vocabulary.add_bos && !vocabulary.bos.has_value()) {
    return absl::InvalidArgumentError(
        "tokenizer.ggml.add_bos_token is set, but tokenizer.ggml.bos_token_id is missing");
  }
  return absl::OkStatus();
}

}  // namespace

struct Tokenizer::Impl {
  Vocabulary vocabulary;
  std::unique_ptr<PreTokenizer> pre_tokenizer;
  Bpe bpe;
  std::vector<std::string> bytes;  // [vocabulary]
  std::vector<TokenId> end_tokens;
  // Tokens that are found by their name, longest first, by their first byte.
  std::array<std::vector<TokenId>, 256> named;

  bool IsNamed(TokenId id) const {
    const TokenKind kind = vocabulary.kinds[static_cast<size_t>(id)];
    return kind == TokenKind::kControl || kind == TokenKind::kUserDefined;
  }

  // The named token at `at`, or -1. A control token is found only where it is asked for; a user-defined one always, as
  // an added token of Hugging Face's is.
  TokenId NamedAt(std::string_view text, size_t at, bool control) const {
    for (TokenId id : named[static_cast<unsigned char>(text[at])]) {
      if (!control && vocabulary.kinds[static_cast<size_t>(id)] == TokenKind::kControl) continue;
      const std::string& name = bytes[static_cast<size_t>(id)];
      if (text.compare(at, name.size(), name) == 0) return id;
    }
    return -1;
  }

  absl::Status EncodePlain(std::string_view text, std::vector<TokenId>& ids) const {
    std::vector<std::string_view> pieces;
    LH_RETURN_IF_ERROR(pre_tokenizer->Split(text, pieces));
    for (std::string_view piece : pieces) bpe.Encode(piece, pre_tokenizer->ignores_merges(), ids);
    return absl::OkStatus();
  }
};

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::~Tokenizer() = default;

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Create(Vocabulary vocabulary) {
  LH_RETURN_IF_ERROR(Check(vocabulary));
  auto impl = std::make_unique<Impl>();
  LH_ASSIGN_OR_RETURN(impl->pre_tokenizer, PreTokenizer::Create(vocabulary.pre_tokenizer));
  LH_RETURN_IF_ERROR(impl->bpe.Create(vocabulary.tokens, vocabulary.merges));
  impl->vocabulary = std::move(vocabulary);
  const Vocabulary& v = impl->vocabulary;
  const auto size = static_cast<TokenId>(v.tokens.size());
  for (TokenId id = 0; id < size; ++id) {
    const std::string& token = v.tokens[static_cast<size_t>(id)];
    impl->bytes.push_back(impl->IsNamed(id) ? token : BytesOfToken(token));
    if (impl->IsNamed(id) && !token.empty()) impl->named[static_cast<unsigned char>(token[0])].push_back(id);
    const bool ends = id == v.eos || id == v.eot ||
                      (v.kinds[static_cast<size_t>(id)] == TokenKind::kControl &&
                       std::find(kEndNames.begin(), kEndNames.end(), token) != kEndNames.end());
    if (ends) impl->end_tokens.push_back(id);
  }
  for (std::vector<TokenId>& ids : impl->named) {
    std::stable_sort(ids.begin(), ids.end(), [&](TokenId a, TokenId b) {
      return impl->bytes[static_cast<size_t>(a)].size() > impl->bytes[static_cast<size_t>(b)].size();
    });
  }
  return std::unique_ptr<Tokenizer>(new Tokenizer(std::move(impl)));
}

absl::StatusOr<std::vector<TokenId>> Tokenizer::Encode(std::string_view text, bool parse_special) const {
  if (const size_t invalid = FirstInvalidUtf8(text); invalid != text.size()) {
    return absl::InvalidArgumentError(absl::StrCat("the text is not UTF-8 at byte ", invalid));
  }
  std::vector<TokenId> ids;
  size_t plain = 0;  // where the text that no named token holds begins
  for (size_t at = 0; at < text.size();) {
    const TokenId id = impl_->NamedAt(text, at, parse_special);
    if (id < 0) {
      ++at;
      continue;
    }
    LH_RETURN_IF_ERROR(impl_->EncodePlain(text.substr(plain, at - plain), ids));
    ids.push_back(id);
    at += impl_->bytes[static_cast<size_t>(id)].size();
    plain = at;
  }
  LH_RETURN_IF_ERROR(impl_->EncodePlain(text.substr(plain), ids));
  return ids;
}

absl::StatusOr<std::vector<TokenId>> Tokenizer::EncodeSegments(std::span<const Segment> segments, bool add_bos) const {
  std::vector<TokenId> ids;
  if (add_bos && impl_->vocabulary.add_bos) ids.push_back(*impl_->vocabulary.bos);
  for (const Segment& segment : segments) {
    LH_ASSIGN_OR_RETURN(const std::vector<TokenId> part, Encode(segment.text, segment.parse_special));
    ids.insert(ids.end(), part.begin(), part.end());
  }
  return ids;
}

std::string_view Tokenizer::TokenBytes(TokenId id) const {
  return impl_->bytes[static_cast<size_t>(id)];
}

bool Tokenizer::IsSpecial(TokenId id) const {
  return impl_->vocabulary.kinds[static_cast<size_t>(id)] == TokenKind::kControl;
}

std::string Tokenizer::Decode(std::span<const TokenId> ids, bool special) const {
  std::string text;
  for (TokenId id : ids) {
    if (special || !IsSpecial(id)) text += TokenBytes(id);
  }
  return text;
}

bool Tokenizer::IsEnd(TokenId id) const {
  return std::find(impl_->end_tokens.begin(), impl_->end_tokens.end(), id) != impl_->end_tokens.end();
}
const std::vector<TokenId>& Tokenizer::end_tokens() const {
  return impl_->end_tokens;
}
int64_t Tokenizer::vocabulary_size() const {
  return static_cast<int64_t>(impl_->bytes.size());
}
const Vocabulary& Tokenizer::vocabulary() const {
  return impl_->vocabulary;
}

}  // namespace longhaul
