#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/mutex.h"
#include "engine/model/runner.h"
#include "tests/support/fake_time.h"

namespace longhaul {

// A runner without a model. Its cache holds tokens, so that the text of a row is what its blocks say, whoever wrote
// them: a block that was lost, shared or written wrongly changes what is answered. Its logits are a function of that
// text, its steps take as long as the test says on the test's clock, and it fails where the test says so.
//
// Steps run late: at their Collect, in order, as those of a device do. The engine's thread calls it as a Runner; the
// rest may be called by any thread.
class FakeRunner final : public Runner {
 public:
  struct Options {
    StepLimits limits{.max_tokens = 64, .max_logit_rows = 64};
    CacheGeometry geometry{.block_tokens = 4, .ring_tokens = 8, .block_bytes = 1, .n_blocks = 256};
    int64_t vocabulary_size = 0;
    bool one_step_ahead = false;
    std::function<std::chrono::nanoseconds(const Batch&)> step_time = [](const Batch&) {
      return std::chrono::milliseconds(1);
    };
    // The logits of what follows `text`, [vocabulary_size].
    std::function<std::vector<float>(std::span<const TokenId> text)> logits;
  };

  // `time` is not owned and outlives it.
  FakeRunner(Options options, FakeTime& time);

  const RunnerInfo& info() const override { return info_; }
  absl::StatusOr<Ticket> Submit(Batch batch) override;
  absl::StatusOr<StepResult> Collect(Ticket ticket) override;

  // Step number `step`, counted from 0, is refused by Submit or fails in Collect. With UNAVAILABLE all that follow fail
  // too: the device is lost.
  void FailSubmit(int64_t step, absl::Status status);
  void FailCollect(int64_t step, absl::Status status);

  // From the next Collect on the engine's thread stands there, before anything of the step is done, until Resume.
  void Hold();
  // Waits until it stands there.
  void AwaitHeld();
  // Lets so many Collects go through, that which stands there included; 0: all.
  void Resume(int64_t steps = 0);
  // Lets so many go through and waits until the thread stands at the next one. REQUIRES: Hold, and that it comes there.
  void Pass(int64_t steps) {
    Resume(steps);
    AwaitHeld();
  }

  // Steps that Submit was asked for, and the largest number that was in flight at once.
  int64_t submitted() const;
  int64_t max_in_flight() const;
  // The batches so far.
  std::vector<Batch> batches() const;

 private:
  struct InFlight {
    Batch batch;
    int64_t number;
    TimeSource::TimePoint submitted;
  };

  StepResult Run(const Batch& batch);
  // The texts of a row up to each of its new tokens; writes them to the cache.
  std::vector<TokenId> ReadRow(const Batch& batch, const BatchRow& row);

  const Options options_;
  FakeTime& time_;
  RunnerInfo info_;
  BatchBounds bounds_;

  // The engine thread's own.
  std::vector<TokenId> cache_;  // [blocks, block_tokens]
  std::vector<GroupResult> before_;
  std::vector<bool> drew_;
  std::deque<InFlight> in_flight_;
  int64_t next_ticket_ = 0;
  TimeSource::TimePoint last_end_{};

  mutable Mutex mutex_;
  CondVar changed_;
  std::map<int64_t, absl::Status> submit_failures_ ABSL_GUARDED_BY(mutex_), collect_failures_ ABSL_GUARDED_BY(mutex_);
  bool holds_ ABSL_GUARDED_BY(mutex_) = false, is_held_ ABSL_GUARDED_BY(mutex_) = false;
  int64_t passes_ ABSL_GUARDED_BY(mutex_) = 0;  // Collects that go through although it holds
  int64_t submitted_ ABSL_GUARDED_BY(mutex_) = 0, max_in_flight_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<Batch> batches_ ABSL_GUARDED_BY(mutex_);
  absl::Status lost_ ABSL_GUARDED_BY(mutex_);  // not OK: the device is lost
};

}  // namespace longhaul
