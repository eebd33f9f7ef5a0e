#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace longhaul {

// Cuts text into the pieces within which byte-level BPE merges. Immutable: any thread may call.
class PreTokenizer {
 public:
  // The pre-tokenizer with this name of tokenizer.ggml.pre; INVALID_ARGUMENT lists those that are known.
  static absl::StatusOr<std::unique_ptr<PreTokenizer>> Create(std::string_view name);
  ~PreTokenizer();

  // Calls `piece` with the pieces of `text`, in order; joined they are the text, none is empty. Stops at the first
  // error of `piece`. INTERNAL when the matcher gives up. REQUIRES: `text` is valid UTF-8.
  absl::Status Split(std::string_view text, absl::FunctionRef<absl::Status(std::string_view)> piece) const;

  // Whether a piece that is a token as a whole is taken as it is, without merging.
  bool ignores_merges() const { return ignores_merges_; }

 private:
  class Pattern;
  explicit PreTokenizer(bool ignores_merges);
  absl::Status Split(std::string_view text, size_t pattern,
                     absl::FunctionRef<absl::Status(std::string_view)> piece) const;

  std::vector<std::unique_ptr<Pattern>> patterns_;
  bool ignores_merges_;
};

}  // namespace longhaul
