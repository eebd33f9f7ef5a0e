// The engine thread of EngineImpl.

#include <chrono>
#include <optional>
#include <thread>
#include <utility>

#include "engine/base/exceptions.h"
#include "engine/base/log.h"
#include "engine/base/status_copy.h"
#include "engine/base/this_thread.h"
#include "engine/engine_impl.h"

namespace longhaul {

void EngineImpl::Loop() {
  while (TakeArrivals()) {
    const absl::Status status = CatchExceptions([&] {
      Turn();
      return absl::OkStatus();
    });
    if (!status.ok()) Recover(status);
  }
  while (pipeline_.size() > 0) scheduler_.StepFailed(pipeline_.Collect().step);
  active_.LetGo();
  active_.TellReaders();
}

void EngineImpl::Turn() {
  const Clock::time_point begin = time_.Now();
  stepped_.clear();
  active_.LetGo();
  active_.DropEnded();
  active_.PauseFullStreams();
  std::optional<Step> step;
  if (pipeline_.has_room()) {
    step = scheduler_.NextStep(std::chrono::duration<double>(time_.Now().time_since_epoch()).count());
  }
  counter_.CountScheduling(scheduler_);
  const bool dropped = step.has_value() && active_.DropHopeless(*step, rates_);
  const bool submits = step.has_value() && !step->empty() && !dropped;
  if (submits) {
    SetStepped(*step);
    for (RequestState* state : stepped_) active_.BeforeStep(*state);
  }
  // While there is work the loop does not wait.
  PublishStats(/*look_again=*/dropped || submits || pipeline_.size() > 0);
  active_.TellReaders();
  const bool submitted = submits && SubmitStep(*std::move(step), begin);
  if (pipeline_.size() > 0 && !(submitted && pipeline_.has_room())) CollectStep();
}

void EngineImpl::PublishStats(bool look_again) {
  const int64_t running = active_.PublishProgress();
  MutexLock lock(mutex_);
  stats_.running = running;
  stats_.running_rows = scheduler_.running_rows();
  stats_.blocks_total = pool_.total();
  stats_.blocks_used = pool_.used();
  stats_.blocks_cached = pool_.idle_cached();
  attention_ = attention_ || look_again;
}

// What may be half processed belongs to the requests of stepped_, or while a step was made to the group at hand: these
// end, all others are intact.
void EngineImpl::Recover(const absl::Status& status) {
  int64_t ended = 0;
  if (stepped_.empty()) ended += active_.Fail(active_.OwnerOf(scheduler_.at_hand()), status) ? 1 : 0;
  for (RequestState* state : stepped_) ended += active_.Fail(state, status) ? 1 : 0;
  stepped_.clear();
  active_.TellReaders();
  Wake();
  if (ended == 0) return std::this_thread::sleep_for(std::chrono::milliseconds(1));  // the turn is tried again
  const absl::Status logged = CatchExceptions([&] {
    LogError("a step failed, which ended ", ended, " requests: ", status.message());
    return absl::OkStatus();
  });
}

bool EngineImpl::TakeArrivals() {
  std::vector<StatePtr> arrivals;
  bool drained = false, stopping = false;
  {
    const std::optional<Clock::time_point> deadline = active_.NextDeadline();
    MutexLock lock(mutex_);
    while (!attention_) {
      if (!deadline.has_value()) {
        changed_.Wait(mutex_);
      } else if (!time_.WaitUntil(changed_, mutex_, *deadline)) {
        break;
      }
    }
    attention_ = false;
    arrivals.swap(arrivals_);
    stopping = stopping_;
    drained = drained_ || stopping_;
  }
  for (StatePtr& state : arrivals) active_.Arrive(std::move(state));
  if (drained) {
    active_.DropEnded();
    active_.EndAll(DrainedError);
  }
  return !stopping;
}

// Takes no memory: stepped_ is reserved for a group per row.
void EngineImpl::SetStepped(const Step& step) {
  stepped_.clear();
  for (const Step::GroupPart& part : step.groups) {
    stepped_.push_back(Scheduler::IsVoid(part) ? nullptr : active_.OwnerOf(part.group));
  }
}

bool EngineImpl::SubmitStep(Step step, Clock::time_point begin) {
  const absl::Status status = pipeline_.Submit(std::move(step), begin);
  if (status.ok()) return true;
  FailStep(status);
  return false;
}

void EngineImpl::CollectStep() {
  StepPipeline::Done done = pipeline_.Collect();
  SetStepped(done.step);
  CountStep(done);
  if (done.result.ok() && done.result->groups.size() != stepped_.size()) {
    done.result = absl::InternalError("the runner returned another number of results than there were groups");
  }
  if (done.result.ok()) {
    const std::chrono::nanoseconds cpu = ThreadCpuTime();
    const Clock::time_point end = done.end;
    DistributeResults(std::move(done));
    telemetry_.emit_cpu.Add((ThreadCpuTime() - cpu).count());
    telemetry_.step_time[StepPhase::kEmit].Observe(time_.Now() - end);
  } else {
    scheduler_.StepFailed(done.step);
    FailStep(done.result.status());
  }
}

void EngineImpl::FailStep(const absl::Status& status) {
  if (absl::IsUnavailable(status)) return Lose(status);
  Recover(absl::IsResourceExhausted(status) ? status : absl::InternalError(status.message()));
}

void EngineImpl::Lose(const absl::Status& status) {
  stepped_.clear();
  {
    MutexLock lock(mutex_);
    lost_ = UnsharedCopy(status);
  }
  LogError("the device is lost, and every request with it: ", status.message());
  active_.EndAll([&] { return UnsharedCopy(status); });
}

void EngineImpl::CountStep(const StepPipeline::Done& done) {
  const StepTally& tally = done.step.tally;
  rates_.AddStep(tally.prefill_tokens, tally.decode_rows, done.seconds);
  {
    MutexLock lock(mutex_);
    ++stats_.steps;
    stats_.decode_tokens += tally.decode_rows;
    stats_.prefill_tokens += tally.prefill_tokens;
    tokens_per_second_ = rates_.tokens_per_second();
  }
  counter_.CountStep(tally);
  const std::chrono::nanoseconds sampling = done.result.ok() ? done.result->sampling : std::chrono::nanoseconds(0);
  telemetry_.step_time[StepPhase::kSchedule].Observe(done.submitted - done.begin);
  telemetry_.step_time[StepPhase::kForward].Observe(
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::duration<double>(done.seconds)) - sampling);
  telemetry_.step_time[StepPhase::kSample].Observe(sampling);
}

void EngineImpl::DistributeResults(StepPipeline::Done done) {
  const Step& step = done.step;
  std::vector<GroupResult>& results = done.result->groups;
  for (size_t g = 0; g < stepped_.size(); ++g) {
    if (stepped_[g] != nullptr) stepped_[g]->PrefetchSelf(*step.groups[g].group);
  }
  for (size_t g = 0; g < stepped_.size(); ++g) {
    const Step::GroupPart& part = step.groups[g];
    if (stepped_[g] != nullptr) stepped_[g]->PrefetchReached(*part.group, part.draws, results[g]);
  }
  scheduler_.StepDone(step, done.seconds);
  std::vector<Group*> ended;
  std::vector<std::pair<Group*, RequestState*>> further;
  for (size_t g = 0; g < stepped_.size(); ++g) {
    if (stepped_[g] == nullptr || stepped_[g]->finished()) continue;
    RequestState& state = *stepped_[g];
    Group& group = *step.groups[g].group;
    if (state.AfterStep(group, step.groups[g].draws, results[g], done.end)) ended.push_back(&group);
    for (Group* made : state.MakeFurtherGroups()) further.emplace_back(made, &state);
  }
  active_.TellReaders();
  for (const auto& [group, state] : further) active_.Queue(*group, *state);
  for (Group* group : ended) active_.EndGroup(*group);
}

}  // namespace longhaul
