#include "engine/text/tokenizer.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "engine/base/prefetch.h"
#include "engine/base/quoted.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/base/utf8.h"
#include "engine/text/bpe.h"
#include "engine/text/byte_alphabet.h"
#include "engine/text/name_trie.h"
#include "engine/text/pre_tokenizer.h"
#include "engine/text/reserved_map.h"

namespace longhaul {
namespace {

// Names of special tokens that end an answer in the known families.
constexpr std::array<std::string_view, 5> kEndNames = {"<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|end_of_text|>",
                                                       "<|eom_id|>"};
// Special tokens of the known families, whatever a file declares them to be.
constexpr std::array<std::string_view, 8> kMarks = {"<|im_start|>",        "<|im_end|>",       "<|endoftext|>",
                                                    "<|eot_id|>",          "<|end_of_text|>",  "<|begin_of_text|>",
                                                    "<|start_header_id|>", "<|end_header_id|>"};
// Offsets in a text are 32 bits wide.
constexpr size_t kMaxTextBytes = size_t{1} << 30;

bool Contains(std::span<const std::string_view> names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

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
  // How text becomes this token: by merges, by its name in any text, or by its name where special tokens are parsed.
  enum class Role : uint8_t { kText, kAdded, kSpecial };

  Vocabulary vocabulary;
  std::vector<Role> roles;         // [vocabulary]
  std::vector<std::string> bytes;  // [vocabulary]
  size_t longest_token = 0;
  std::vector<TokenId> end_tokens;
  std::unique_ptr<PreTokenizer> pre_tokenizer;
  Bpe bpe;
  NameTrie added, added_or_special;
  // Where the pre-tokenizer ignores merges: tokens of text by their bytes, which `bytes` owns.
  absl::flat_hash_map<absl::string_view, TokenId> whole;

  Role RoleOf(TokenId id) const {
    if (Contains(kMarks, vocabulary.tokens[static_cast<size_t>(id)])) return Role::kSpecial;
    switch (vocabulary.kinds[static_cast<size_t>(id)]) {
      case TokenKind::kControl:
      case TokenKind::kUnknown:
      case TokenKind::kUnused:
        return Role::kSpecial;
      case TokenKind::kUserDefined:
        return id == vocabulary.bos || id == vocabulary.eos || id == vocabulary.eot ? Role::kSpecial : Role::kAdded;
      case TokenKind::kUndefined:
      case TokenKind::kNormal:
      case TokenKind::kByte:
        break;
    }
    return Role::kText;
  }

  // Working memory of one call of Encode.
  struct Work {
    StopPoll poll;
    std::vector<TokenId> ids{};
    Bpe::Scratch scratch{};
  };

  absl::Status EncodePlain(std::string_view text, Work& work) const {
    return pre_tokenizer->Split(text, [&](std::string_view piece) {
      if (const auto found = whole.find(ToAbsl(piece)); found != whole.end()) {
        work.ids.push_back(found->second);
      } else if (!bpe.Encode(piece, work.poll, work.scratch, work.ids)) {
        return absl::CancelledError("the text is no longer wanted");
      }
      return absl::OkStatus();
    });
  }

  absl::Status Encode(std::string_view text, bool parse_special, Work& work) const {
    if (text.size() > kMaxTextBytes) {
      return absl::InvalidArgumentError(absl::StrCat("the text has ", text.size(), " bytes, at most ", kMaxTextBytes));
    }
    if (const size_t invalid = FirstInvalidUtf8(text); invalid != text.size()) {
      return absl::InvalidArgumentError(absl::StrCat("the text is not UTF-8 at byte ", invalid));
    }
    const NameTrie& names = parse_special ? added_or_special : added;
    size_t plain = 0;  // where the text begins that is not encoded yet
    for (size_t at = 0; at < text.size() && !names.empty();) {
      const NameTrie::Found found = names.Longest(text.substr(at));
      if (found.id < 0) {
        ++at;
        continue;
      }
      LH_RETURN_IF_ERROR(EncodePlain(text.substr(plain, at - plain), work));
      work.ids.push_back(found.id);
      at += found.length;
      plain = at;
    }
    return EncodePlain(text.substr(plain), work);
  }
};

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::~Tokenizer() = default;

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Create(Vocabulary vocabulary) {
  LH_RETURN_IF_ERROR(Check(vocabulary));
  auto impl = std::make_unique<Impl>();
  impl->vocabulary = std::move(vocabulary);
  const Vocabulary& v = impl->vocabulary;
  LH_ASSIGN_OR_RETURN(impl->pre_tokenizer, PreTokenizer::Create(v.pre_tokenizer));
  const auto size = static_cast<TokenId>(v.tokens.size());
  impl->bytes.reserve(v.tokens.size());
  impl->roles.reserve(v.tokens.size());
  for (TokenId id = 0; id < size; ++id) {
    const std::string& token = v.tokens[static_cast<size_t>(id)];
    const TokenKind kind = v.kinds[static_cast<size_t>(id)];
    const Impl::Role role = impl->RoleOf(id);
    impl->roles.push_back(role);
    impl->bytes.push_back(role == Impl::Role::kText ? BytesOfToken(token) : token);
    impl->longest_token = std::max(impl->longest_token, impl->bytes.back().size());
    if (role != Impl::Role::kText && kind != TokenKind::kUnused && !token.empty()) {
      impl->added_or_special.Add(token, id);
      if (role == Impl::Role::kAdded) impl->added.Add(token, id);
    }
    const bool ends = role == Impl::Role::kSpecial && Contains(kEndNames, token);
    if (id == v.eos || id == v.eot || ends) impl->end_tokens.push_back(id);
  }
  LH_RETURN_IF_ERROR(
      impl->bpe.Create(v, [&](TokenId id) { return impl->roles[static_cast<size_t>(id)] == Impl::Role::kSpecial; }));
  if (impl->pre_tokenizer->ignores_merges()) {
    impl->whole = ReservedMap<decltype(impl->whole)>(static_cast<size_t>(size));
    for (TokenId id = 0; id < size; ++id) {
      if (impl->roles[static_cast<size_t>(id)] == Impl::Role::kText) {
        impl->whole.emplace(ToAbsl(impl->bytes[static_cast<size_t>(id)]), id);
      }
    }
  }
  return std::unique_ptr<Tokenizer>(new Tokenizer(std::move(impl)));
}

absl::StatusOr<std::vector<TokenId>> Tokenizer::Encode(std::string_view text, bool parse_special, bool add_bos,
                                                       const StopCondition& stopped) const {
  Impl::Work work{StopPoll(stopped)};
  if (add_bos && impl_->vocabulary.add_bos) work.ids.push_back(*impl_->vocabulary.bos);
  LH_RETURN_IF_ERROR(impl_->Encode(text, parse_special, work));
  return std::move(work.ids);
}

absl::StatusOr<std::vector<TokenId>> Tokenizer::EncodeSegments(std::span<const Segment> segments, bool add_bos,
                                                               const StopCondition& stopped) const {
  Impl::Work work{StopPoll(stopped)};
  if (add_bos && impl_->vocabulary.add_bos) work.ids.push_back(*impl_->vocabulary.bos);
  for (const Segment& segment : segments) {
    LH_RETURN_IF_ERROR(impl_->Encode(segment.text, segment.parse_special, work));
  }
  return std::move(work.ids);
}

std::string_view Tokenizer::TokenBytes(TokenId id) const {
  return impl_->bytes[static_cast<size_t>(id)];
}

void Tokenizer::PrefetchToken(TokenId id) const {
  Prefetch(&impl_->bytes[static_cast<size_t>(id)]);
  Prefetch(&impl_->roles[static_cast<size_t>(id)]);
}

bool Tokenizer::IsSpecial(TokenId id) const {
  return impl_->roles[static_cast<size_t>(id)] == Impl::Role::kSpecial;
}

std::optional<TokenId> Tokenizer::FindSpecial(std::string_view name) const {
  const NameTrie::Found found = impl_->added_or_special.Longest(name);
  if (found.id < 0 || found.length != name.size() || !IsSpecial(found.id)) return std::nullopt;
  return found.id;
}

size_t Tokenizer::DetokenizedBytes(std::span<const TokenId> ids, bool special) const {
  size_t bytes = 0;
  for (TokenId id : ids) {
    if (special || !IsSpecial(id)) bytes += TokenBytes(id).size();
  }
  return bytes;
}

std::string Tokenizer::Detokenize(std::span<const TokenId> ids, bool special) const {
  std::string text;
  text.reserve(DetokenizedBytes(ids, special));
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
size_t Tokenizer::longest_token() const {
  return impl_->longest_token;
}
const Vocabulary& Tokenizer::vocabulary() const {
  return impl_->vocabulary;
}

}  // namespace longhaul
