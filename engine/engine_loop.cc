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
  TellReaders();
}

void EngineImpl::Turn() {
  const Clock::time_point begin = Clock::now();
  stepped_.clear();
  DropEnded(begin);
  for (const auto& [key, state] : active_) {
    const bool has_room = state->stream().HasRoom();
    for (Group& group : state->groups()) group.paused = !has_room;
  }
  const Batch& batch = scheduler_.NextBatch(Seconds(Clock::now()));
  counter_.CountScheduling(scheduler_);
  const bool dropped = DropHopeless(Clock::now());
  int64_t running = 0;
  for (const auto& [key, state] : active_) {
    state->PublishProgress();
    if (state->was_scheduled()) ++running;
  }
  {
    MutexLock lock(mutex_);
    stats_.running = running;
    stats_.running_rows = scheduler_.running_rows();
    stats_.blocks_total = pool_.total();
    stats_.blocks_used = pool_.used();
    stats_.blocks_cached = pool_.idle_cached();
    // After a step the loop looks again at once.
    attention_ = attention_ || dropped || !batch.rows.empty();
  }
  TellReaders();
  if (!dropped && !batch.rows.empty()) RunStep(batch, begin);
}

// Whatever was half done belongs to the requests of the step, or while it was made to the one group at hand: they end,
// and the others are as they were.
void EngineImpl::Recover(const absl::Status& status) {
  const Clock::time_point now = Clock::now();
  int64_t ended = 0;
  const auto end = [&](RequestState* state) {
    if (active_.count(state) == 0) return;  // several groups may have one request
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
      } else if (!changed_.WaitUntil(mutex_, *deadline)) {
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
  state.Fail(status, Clock::now());
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
  const Clock::time_point now = Clock::now();
  DropEnded(now);
  while (!active_.empty()) {
    RequestState& state = *active_.begin()->first;
    state.Finish(FinishReason::kUnavailable, CatchExceptions(DrainedError), now);
    End(state);
  }
}

bool EngineImpl::DropHopeless(Clock::time_point now) {
  // The prompt's reading time is a lower bound; it must exceed what is left so many times.
  constexpr double kClearly = 4;
  bool any = false;
  for (Group* group : scheduler_.scheduled()) {
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
  scheduler_.Add(group, Seconds(Clock::now()));
  std::move(disown).Cancel();
}

void EngineImpl::End(RequestState& state) {
  TellReaders();  // its own may be among them
  for (Group& group : state.groups()) {
    if (owners_.erase(&group) > 0) scheduler_.Remove(group);
  }
  state.stream().SetOnRoom(nullptr);
  if (!state.was_scheduled()) waiting_.fetch_sub(1);
  active_.erase(&state);
  CountFinished();
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

void EngineImpl::RunStep(const Batch& batch, Clock::time_point begin) {
  const Clock::time_point scheduled = Clock::now();
  stepped_.clear();
  for (Group* group : scheduler_.scheduled()) {
    RequestState& state = *owners_.at(group);
    stepped_.push_back(&state);
    if (!state.was_scheduled()) waiting_.fetch_sub(1);
    state.BeforeStep(*group, scheduled);
  }
  const Clock::time_point forward = Clock::now();
  absl::StatusOr<StepResult> result = [&]() -> absl::StatusOr<StepResult> {
    LH_ASSIGN_OR_RETURN(const Ticket ticket, runner_->Step(batch));
    return runner_->Collect(ticket);
  }();
  const Clock::time_point end = Clock::now();
  const double seconds = std::chrono::duration<double>(end - scheduled).count();
  int64_t decode_tokens = 0, prefill_tokens = 0;
  for (const BatchRow& row : batch.rows) (row.n_new == 1 ? decode_tokens : prefill_tokens) += row.n_new;
  rates_.AddStep(prefill_tokens, decode_tokens, seconds);
  {
    MutexLock lock(mutex_);
    ++stats_.steps;
    stats_.decode_tokens += decode_tokens;
    stats_.prefill_tokens += prefill_tokens;
    tokens_per_second_ = rates_.tokens_per_second();
  }
  counter_.CountStep(scheduler_);
  const std::chrono::nanoseconds sampling = result.ok() ? result->sampling : std::chrono::nanoseconds(0);
  telemetry_.step_time[StepPhase::kSchedule].Observe(forward - begin);
  telemetry_.step_time[StepPhase::kForward].Observe(end - forward - sampling);
  telemetry_.step_time[StepPhase::kSample].Observe(sampling);
  if (!result.ok()) {
    Recover(absl::InternalError(result.status().message()));
    return;
  }
  const std::chrono::nanoseconds cpu = ThreadCpuTime();
  DistributeResults(*std::move(result), seconds, end);
  telemetry_.emit_cpu.Add((ThreadCpuTime() - cpu).count());
  telemetry_.step_time[StepPhase::kEmit].Observe(Clock::now() - end);
}

void EngineImpl::DistributeResults(StepResult result, double step_seconds, Clock::time_point now) {
  const Batch& batch = scheduler_.batch();
  for (size_t g = 0; g < batch.groups.size(); ++g) stepped_[g]->PrefetchSelf(*scheduler_.scheduled()[g]);
  for (size_t g = 0; g < batch.groups.size(); ++g) {
    const SamplerResult* sampled = batch.groups[g].sampler != nullptr ? &result.groups[g] : nullptr;
    stepped_[g]->PrefetchReached(*scheduler_.scheduled()[g], sampled);
  }
  scheduler_.StepDone(step_seconds);
  size_t next_score = 0;
  std::vector<Group*> ended;
  std::vector<std::pair<Group*, RequestState*>> further;
  for (size_t g = 0; g < batch.groups.size(); ++g) {
    const BatchGroup& entry = batch.groups[g];
    Group& group = *scheduler_.scheduled()[g];
    size_t n_scores = 0;
    if (group.score_from > 0) {
      for (int r = entry.first_row; r < entry.first_row + entry.n_rows; ++r) {
        const BatchRow& row = batch.rows[static_cast<size_t>(r)];
        n_scores += static_cast<size_t>(row.n_new - row.first_logit);
      }
    }
    const std::span<TokenScore> scores(result.scores.data() + next_score, n_scores);
    next_score += n_scores;
    const SamplerResult* sampled = entry.sampler != nullptr ? &result.groups[g] : nullptr;
    RequestState& state = *stepped_[g];
    if (state.finished()) continue;
    if (state.AfterStep(group, sampled, result.choices[g], scores, now)) ended.push_back(&group);
    for (Group* made : state.MakeFurtherGroups()) further.emplace_back(made, &state);
  }
  TellReaders();
  // Only now: both change the scheduler's batch.
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
