#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "client/evaluation/task.h"
#include "client/evaluation/text.h"

namespace longhaul {

struct PasskeyOptions {
  std::vector<int64_t> depths = {0, 25, 50, 75, 100};  // percent of the filler before the key
  int64_t trials = 5;
  int64_t seed = 0;
};

// A key of five digits in the middle of filler, and a question about it at the end, plain text without a chat template
// (base models and small ones answer a continuation better): can a mode find what stands far back? Prompt and answer
// together come to N tokens. The key depends on seed, length, depth and trial, not on the mode.
class Passkey : public Task {
 public:
  // The filler: the text's last tokens before its end, else the classic sentences.
  static absl::StatusOr<Passkey> Make(Client& client, const Text* text, PasskeyOptions options);

  absl::Status CheckLength(int64_t length) const override;
  std::vector<Repetition> Repetitions() const override;
  absl::Status Run(Client& client, const v1::PositionMode& position, const OnProgress& on_progress,
                   Measurement& done) const override;
  std::string Describe(const Measurement& done) const override;

  // The first run of digits in an answer.
  static std::string FirstNumber(const std::string& answer);
  static std::string KeyOf(int64_t seed, int64_t length, const Repetition& sample);

 private:
  Passkey() = default;

  // `n` tokens of filler, and where in it the key may stand so that no sentence is cut.
  std::vector<int32_t> Filler(int64_t n) const;
  int64_t Place(int64_t n, int64_t depth) const;

  const Text* text_ = nullptr;
  PasskeyOptions options_;
  std::optional<int32_t> bos_;
  std::vector<int32_t> opening_, sentences_, question_;
  int64_t key_tokens_ = 0;  // of the sentence with the key, at most
};

}  // namespace longhaul
