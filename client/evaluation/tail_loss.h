#pragma once

#include <utility>

#include "client/evaluation/task.h"
#include "client/evaluation/text.h"

namespace longhaul {

// Su's tail loss (kexue.fm 9948): the last N tokens before a span's end are read and only the last T of them, the same
// ones at every N, are scored. So no mode wins by scoring easier tokens, and more context can only help.
class TailLoss : public Task {
 public:
  TailLoss(const Text& text, std::vector<int64_t> spans, int64_t score_tokens)
      : text_(text), spans_(std::move(spans)), score_tokens_(score_tokens) {}

  absl::Status CheckLength(int64_t length) const override;
  std::vector<Repetition> Repetitions() const override;
  absl::Status Run(Client& client, const v1::PositionMode& position, const OnProgress& on_progress,
                   Measurement& done) const override;
  std::string Describe(const Measurement& done) const override;

 private:
  const Text& text_;
  const std::vector<int64_t> spans_;
  const int64_t score_tokens_;
};

}  // namespace longhaul
