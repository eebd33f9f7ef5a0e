// The engine thread of EngineImpl.

#include <algorithm>
#include <chrono>
#include <optional>
#include <thread>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/base/exceptions.h"
#include "engine/base/log.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/base/this_thread.h"
#include "engine/engine_impl.h"

namespace longhaul {
namespace {

// The scheduler's time.
double Seconds(Clock::time_point time) {
  return std::chrono::duration<double>(time.time_since_epoch()).count();
}

}  // namespace

void EngineImpl::Loop() {
  while (TakeArrivals()) {
    const absl::Status status = CatchExceptions([&] {
      Turn();
      return absl::OkStatus();
    });
    if (!status.ok()) Recover(status);
  }
  while (pipeline_.size() > 0) scheduler_.StepFailed(pipeline_.Collect().step);
  LetGo();
  TellReaders();
}

void EngineImpl::Turn() {
  const Clock::time_point begin = time_.Now();
  stepped_.clear();
  LetGo();
  DropEnded(begin);
  for (const auto& [key, state] : active_) {
    const bool has_room = state->stream().HasRoom(1 + pipeline_.size());
    for (Group& group : state->groups()) group.paused = !has_room;
  }
  std::optional<Step> step;
  if (pipeline_.has_room()) step = scheduler_.NextStep(Seconds(time_.Now()));
  counter_.CountScheduling(scheduler_);
  const bool dropped = step.has_value() && DropHopeless(*step, time_.Now());
  const bool submits = step.has_value() && !step->empty() && !dropped;
  // While steps run the loop looks again at once.
  PublishStats(/*look_again=*/dropped || submits || pipeline_.size() > 0);
  TellReaders();
  const bool submitted = submits && SubmitStep(*std::move(step), begin);
  if (pipeline_.size() > 0 && !(submitted && pipeline_.has_room())) CollectStep();
}

void EngineImpl::PublishStats(bool look_again) {
  int64_t running = 0;
  for (const auto& [key, state] : active_) {
    state->PublishProgress();
    if (state->was_scheduled()) ++running;
  }
  MutexLock lock(mutex_);
  stats_.running = running;
  stats_.running_rows = scheduler_.running_rows();
  stats_.blocks_total = pool_.total();
  stats_.blocks_used = pool_.used();
  stats_.blocks_cached = pool_.idle_cached();
  attention_ = attention_ || look_again;
}

// Whatever was half done belongs to the requests of the step, or while it was made to the one group at hand: they end,
// and the others are as they were.
void EngineImpl::Recover(const absl::Status& status) {
  const Clock::time_point now = time_.Now();
  int64_t ended = 0;
  const auto end = [&](RequestState* state) {
    if (active_.count(state) == 0) return;  // null, or several groups have one request
    state->Fail(status, now);
    End(*state);
    ++ended;
  };
  if (stepped_.empty()) {
    const auto owner = owners_.find(scheduler_.at_hand());
    if (owner != owners_.end()) end(owner->second);
  }
  for (RequestState* state : stepped_) end(state);
  stepped_.clear();
  TellReaders();
  Wake();
  if (ended == 0) return std::this_thread::sleep_for(std::chrono::milliseconds(1));  // it is tried again
  const absl::Status logged = CatchExceptions([&] {
    LogError("a step failed, which ended ", ended, " requests: ", status.message());
    return absl::OkStatus();
  });
}

bool EngineImpl::TakeArrivals() {
  std::vector<StatePtr> arrivals;
  bool drained = false, stopping = false;
  {
    const std::optional<Clock::time_point> deadline = NextDeadline();
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
  for (StatePtr& state : arrivals) Arrive(std::move(state));
  if (drained) EndAll();
  return !stopping;
}

void EngineImpl::Arrive(StatePtr arrived) {
  RequestState& state = *arrived;
  const absl::Status status = CatchExceptions([&] {
    active_.try_emplace(&state).first->second = std::move(arrived);
    Group& group = state.groups().front();
    state.EmitStarted(scheduler_.CachedTokens(group));
    Queue(group, state);
    return absl::OkStatus();
  });
  if (status.ok()) return;
  state.Fail(status, time_.Now());
  End(state);
}

void EngineImpl::DropEnded(Clock::time_point now) {
  for (auto next = active_.begin(); next != active_.end();) {
    RequestState& state = *(next++)->second;
    const RequestStage stage = state.was_scheduled() ? RequestStage::kRunning : RequestStage::kQueue;
    if (IsTooLate(state, now)) {
      telemetry_.deadlines_expired[stage].Add();
      state.Finish(FinishReason::kDeadline, CatchExceptions([&] { return DeadlineError(state.request()); }), now);
      End(state);
    } else if (state.stream().cancelled()) {
      const auto error = [] { return absl::CancelledError("the request was cancelled"); };
      state.Finish(FinishReason::kCancelled, CatchExceptions(error), now);
      End(state);
    } else if (const auto stalls = StallsAt(state); stalls.has_value() && *stalls <= now) {
      telemetry_.stream_stalls[stage].Add();
      const auto error = [&] {
        return absl::AbortedError(absl::StrCat("the client took nothing for ", options_.stream_stall_timeout.count(),
                                               " ms (--stream-stall-timeout)"));
      };
      state.Finish(FinishReason::kStalled, CatchExceptions(error), now);
      End(state);
    }
  }
}

void EngineImpl::EndAll() {
  const Clock::time_point now = time_.Now();
  DropEnded(now);
  while (!active_.empty()) {
    RequestState& state = *active_.begin()->first;
    state.Finish(FinishReason::kUnavailable, CatchExceptions(DrainedError), now);
    End(state);
  }
}

bool EngineImpl::DropHopeless(const Step& step, Clock::time_point now) {
  // The prompt's reading time is a lower bound; it must exceed what is left so many times.
  constexpr double kClearly = 4;
  bool any = false;
  for (const Step::GroupPart& part : step.groups) {
    Group* const group = part.group;
    const auto owner = owners_.find(group);
    if (owner == owners_.end()) continue;  // it went with its request
    RequestState& state = *owner->second;
    // What is read now leaves out what the cache holds: before a request is scheduled that is not known.
    const std::optional<double> needed = rates_.SecondsToRead(group->Remaining());
    if (state.was_scheduled() || !state.request().deadline.has_value() || !needed.has_value()) continue;
    const double left = std::chrono::duration<double>(*state.request().deadline - now).count();
    if (*needed <= kClearly * left) continue;
    telemetry_.deadlines_expired[RequestStage::kQueue].Add();
    const auto error = [&] {
      return absl::DeadlineExceededError(absl::StrFormat(
          "the deadline leaves %.3f s, reading the prompt's %d tokens takes at least about %.3f s: not begun",
          std::max(left, 0.0), group->Remaining(), *needed));
    };
    state.Finish(FinishReason::kDeadline, CatchExceptions(error), now);
    End(state);
    any = true;
  }
  return any;
}

// A client that gives up at its deadline cancels, and does so up to a hundredth early: gRPC rounds a deadline up on its
// way here.
bool EngineImpl::IsTooLate(const RequestState& state, Clock::time_point now) const {
  const std::optional<Clock::time_point>& deadline = state.request().deadline;
  if (!deadline.has_value()) return false;
  const Clock::duration left = *deadline - now;
  return left <= Clock::duration(0) || (state.stream().cancelled() && left * 100 <= *deadline - state.submitted());
}

void EngineImpl::Queue(Group& group, RequestState& state) {
  owners_.emplace(&group, &state);
  absl::Cleanup disown = [&] { owners_.erase(&group); };
  scheduler_.Add(group, Seconds(time_.Now()));
  std::move(disown).Cancel();
}

void EngineImpl::End(RequestState& state) {
  TellReaders();  // its own may be among them
  for (Group& group : state.groups()) {
    if (owners_.erase(&group) > 0) scheduler_.Remove(group);
  }
  state.stream().SetOnRoom(nullptr);
  if (!state.was_scheduled()) waiting_.fetch_sub(1);
  // Not there yet where it ends because there was no memory for its place.
  if (const auto active = active_.find(&state); active != active_.end()) {
    if (state.in_flight()) {
      state.next_leaving = std::move(leaving_);
      leaving_ = std::move(active->second);
    }
    active_.erase(active);
  }
  CountFinished();
}

void EngineImpl::LetGo() {
  for (StatePtr* at = &leaving_; *at != nullptr;) {
    if ((*at)->in_flight()) {
      at = &(*at)->next_leaving;
    } else {
      *at = StatePtr(std::move((*at)->next_leaving));
    }
  }
}

std::optional<Clock::time_point> EngineImpl::NextDeadline() const {
  std::optional<Clock::time_point> next;
  for (const auto& [key, state] : active_) {
    const std::optional<Clock::time_point>& deadline = state->request().deadline;
    for (const auto& end : {deadline, StallsAt(*state)}) {
      if (end.has_value() && (!next.has_value() || *end < *next)) next = end;
    }
  }
  return next;
}

std::optional<Clock::time_point> EngineImpl::StallsAt(const RequestState& state) const {
  if (options_.stream_stall_timeout.count() == 0) return std::nullopt;
  const std::optional<Clock::time_point> since = state.stream().FullSince();
  if (!since.has_value()) return std::nullopt;
  return *since + options_.stream_stall_timeout;
}

// Takes no memory: there is room for a group of each row.
void EngineImpl::SetStepped(const Step& step) {
  stepped_.clear();
  for (const Step::GroupPart& part : step.groups) {
    stepped_.push_back(Scheduler::IsVoid(part) ? nullptr : owners_.at(part.group));
  }
}

bool EngineImpl::SubmitStep(Step step, Clock::time_point begin) {
  SetStepped(step);
  for (RequestState* state : stepped_) {
    if (!state->was_scheduled()) waiting_.fetch_sub(1);
    state->BeforeStep(time_.Now());
  }
  const absl::Status status = pipeline_.Submit(std::move(step), begin);
  if (status.ok()) return true;
  FailStep(status);
  return false;
}

void EngineImpl::CollectStep() {
  StepPipeline::Done done = pipeline_.Collect();
  SetStepped(done.step);
  CountStep(done);
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
  const Clock::time_point now = time_.Now();
  stepped_.clear();
  {
    MutexLock lock(mutex_);
    lost_ = status;
  }
  LogError("the device is lost, which ends ", active_.size(), " requests: ", status.message());
  while (!active_.empty()) {
    RequestState& state = *active_.begin()->first;
    state.Finish(FinishReason::kUnavailable, status, now);
    End(state);
  }
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
  TellReaders();
  for (const auto& [group, state] : further) Queue(*group, *state);
  for (Group* group : ended) {
    const auto owner = owners_.find(group);
    if (owner == owners_.end()) continue;  // it went with its request
    if (owner->second->finished()) {
      End(*owner->second);
    } else {
      owners_.erase(owner);
      scheduler_.Remove(*group);
    }
  }
}

void EngineImpl::TellReaders() {
  for (size_t i = 0; i < ready_.size(); ++i) ready_[i]->TellReader(/*more=*/i + 1 < ready_.size());
  ready_.clear();
}

}  // namespace longhaul
