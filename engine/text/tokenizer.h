#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/stop_condition.h"
#include "engine/base/token.h"
#include "engine/text/vocabulary.h"

namespace longhaul {

// A piece of text that is tokenized by itself: no merge crosses its borders.
struct Segment {
  std::string text;
  // Whether names of special tokens in it become those tokens: the template's own pieces, never a user's text.
  bool parse_special = false;
};

// Byte-level BPE with a named pre-tokenizer. Immutable: any thread may call.
class Tokenizer {
 public:
  // INVALID_ARGUMENT, naming the GGUF key, on an empty vocabulary, a tokenizer model other than "gpt2", an unknown
  // pre-tokenizer (the message lists those that are known), a token that occurs twice, a merge of unknown tokens or an
  // id outside the vocabulary.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Create(Vocabulary vocabulary);
  ~Tokenizer();

  // The ids of one text; a BOS first where the model wants one and `add_bos` is true. INVALID_ARGUMENT when it is not
  // UTF-8, with the byte offset; CANCELLED soon after `stopped` holds. As with Hugging Face: names of user-defined
  // tokens become those tokens in any text, and bytes for which the vocabulary has no token are left out. Without
  // `parse_special` no id is special, whatever the text and the vocabulary are.
  absl::StatusOr<std::vector<TokenId>> Encode(std::string_view text, bool parse_special = false, bool add_bos = false,
                                              const StopCondition& stopped = {}) const;

  // Each segment by itself, joined, as Encode.
  absl::StatusOr<std::vector<TokenId>> EncodeSegments(std::span<const Segment> segments, bool add_bos,
                                                      const StopCondition& stopped = {}) const;

  // The bytes that a token stands for; for special tokens their name. REQUIRES: 0 <= id < vocabulary_size().
  std::string_view TokenBytes(TokenId id) const;
  // Prefetches what TokenBytes, IsSpecial and IsEnd read of a token. REQUIRES: as TokenBytes.
  void PrefetchToken(TokenId id) const;
  // Control, unknown and unused tokens, and the marks of the known chat templates: no text of a user becomes one.
  bool IsSpecial(TokenId id) const;
  // The special token of this name; none when there is none.
  std::optional<TokenId> FindSpecial(std::string_view name) const;

  // The text of ids: bytes joined, special tokens left out unless asked for. May not be UTF-8 if the ids are not a
  // text.
  std::string Detokenize(std::span<const TokenId> ids, bool special) const;
  // The length of that text, without making it.
  size_t DetokenizedBytes(std::span<const TokenId> ids, bool special) const;

  // Whether the token ends an answer: end of sequence, of text or of turn.
  bool IsEnd(TokenId id) const;
  const std::vector<TokenId>& end_tokens() const;

  int64_t vocabulary_size() const;
  size_t longest_token() const;  // bytes
  const Vocabulary& vocabulary() const;

 private:
  struct Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace longhaul
