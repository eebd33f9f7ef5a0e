#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "engine/base/mutex.h"
#include "engine/base/work_queue.h"
#include "engine/cache/block_pool.h"
#include "engine/engine.h"
#include "engine/prepare/prompt_encoder.h"
#include "engine/prepare/request_preparer.h"
#include "engine/running/active_requests.h"
#include "engine/running/request_registry.h"
#include "engine/running/request_state.h"
#include "engine/scheduling/scheduler.h"
#include "engine/step_pipeline.h"
#include "engine/telemetry/step_counter.h"
#include "engine/telemetry/step_rates.h"

namespace longhaul {

// The engine on a runner: one thread owns scheduler, cache and runner; callers hand requests to it through a queue.
class EngineImpl : public Engine {
 public:
  // `options` are resolved.
  EngineImpl(const EngineOptions& options, EngineParts parts);
  ~EngineImpl() override;

  std::shared_ptr<EventStream> Submit(Request request, EventStream::OnReady on_ready) override;
  void Cancel(EventStream& stream) override;
  std::vector<RequestInfo> ListRequests() const override { return registry_.List(time_.Now()); }
  int64_t CancelRequest(const std::string& id) override;
  bool Drain(std::chrono::milliseconds timeout) override;
  absl::Status RunOnTextPool(std::function<void()> work) override;
  absl::StatusOr<std::vector<TokenId>> Tokenize(const Prompt& prompt, bool parse_special,
                                                const StopCondition& stopped) const override;
  absl::StatusOr<std::string> Detokenize(std::span<const TokenId> ids, bool special, size_t max_bytes) const override;
  std::string_view TokenBytes(TokenId id) const override { return encoder_->tokenizer().TokenBytes(id); }
  absl::StatusOr<ResolvedPosition> ResolvePosition(const PositionMode& mode, int64_t length) const override {
    return positions_->Resolve(mode, length);
  }
  const ModelInfo& model() const override { return info_; }
  EngineStats Stats() const override;
  Telemetry& telemetry() override { return telemetry_; }

 private:
  using StatePtr = std::unique_ptr<RequestState>;

  // The part of Submit that may refuse a request, when it has been counted in `waiting`. Not OK: nothing has been done.
  absl::Status Accept(Request request, const std::shared_ptr<EventStream>& stream, Clock::time_point submitted,
                      int64_t waiting);
  // Runs on the text pool: makes a state for the engine thread, or refuses. Throws nothing.
  void Prepare(RequestPreparer::Arrival arrival);
  // Throws nothing.
  void Refuse(EventStream& stream, absl::Status status);
  // Takes one off unfinished_.
  void CountFinished();
  void Wake();

  // Functions of the engine thread. Exceptions end in Loop; functions that must not be left half done throw nothing.
  void Loop();
  bool TakeArrivals();  // false when the engine stops
  // Makes and submits a step, and collects one where no more may be in flight.
  void Turn();
  // Submits a step, whose requests are those of stepped_. False where that failed; they have ended then.
  bool SubmitStep(Step step, Clock::time_point begin);
  void CollectStep();
  // Ends the requests of stepped_, or all where the device is lost.
  void FailStep(const absl::Status& status);
  // Ends the requests that a failed turn may have left half processed.
  void Recover(const absl::Status& status);
  // Sets stepped_ for a step; null where a part is void.
  void SetStepped(const Step& step);
  void CountStep(const StepPipeline::Done& done);
  void DistributeResults(StepPipeline::Done done);
  // Ends all requests, and refuses those that come, because the device is lost.
  void Lose(const absl::Status& status);
  void PublishStats(bool look_again);

  const EngineOptions options_;
  const TimeSource& time_;
  const std::unique_ptr<PromptEncoder> encoder_;
  const std::unique_ptr<Runner> runner_;
  const std::unique_ptr<PositionResolver> positions_;
  const ModelInfo info_;

  RequestRegistry registry_;

  // Used by the engine thread only.
  BlockPool pool_;
  Scheduler scheduler_;
  StepPipeline pipeline_;
  ActiveRequests active_;
  StepRates rates_;
  std::vector<RequestState*> stepped_;  // of each group of the step at hand

  std::atomic<int64_t> waiting_{0};  // submitted and not scheduled for the first time
  mutable Mutex mutex_;
  CondVar changed_;
  std::vector<StatePtr> arrivals_ ABSL_GUARDED_BY(mutex_);
  bool attention_ ABSL_GUARDED_BY(mutex_) = false;  // there is something for the loop to do
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  bool drained_ ABSL_GUARDED_BY(mutex_) = false;  // the time of a drain is over: requests that have not finished end
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status lost_ ABSL_GUARDED_BY(mutex_);       // not OK: the device is lost
  int64_t unfinished_ ABSL_GUARDED_BY(mutex_) = 0;  // requests and work of the text pool
  CondVar all_finished_;
  EngineStats stats_ ABSL_GUARDED_BY(mutex_);
  std::optional<double> tokens_per_second_ ABSL_GUARDED_BY(mutex_);  // of rates_

  Telemetry telemetry_;
  StepCounter counter_{telemetry_};  // the engine thread's own
  const RunningContext context_;
  RequestPreparer preparer_;
  std::unique_ptr<WorkQueue> text_pool_;
  std::thread thread_;
};

}  // namespace longhaul
