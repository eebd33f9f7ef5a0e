#pragma once

#include <utility>

#include "client/evaluation/task.h"
#include "client/evaluation/text.h"

namespace longhaul {

// Next-token accuracy on repeated text (kexue.fm 9706): one passage of P tokens, tiled to N. From the second copy on
// every token can be looked up P tokens before; the first copy's accuracy, which cannot, is the measure of it.
class RepeatedText : public Task {
 public:
  RepeatedText(const Text& text, std::vector<int64_t> spans, int64_t period)
      : text_(text), spans_(std::move(spans)), period_(period) {}

  absl::Status CheckLength(int64_t length) const override;
  std::vector<Repetition> Repetitions() const override;
  absl::Status Run(Client& client, const v1::PositionMode& position, const OnProgress& on_progress,
                   Measurement& done) const override;
  std::string Describe(const Measurement& done) const override;

 private:
  const Text& text_;
  const std::vector<int64_t> spans_;
  const int64_t period_;
};

}  // namespace longhaul
