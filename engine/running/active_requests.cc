#include "engine/running/active_requests.h"

#include <algorithm>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/base/exceptions.h"
#include "engine/base/status_copy.h"

namespace longhaul {

void ActiveRequests::Arrive(StatePtr arrived) {
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

void ActiveRequests::Queue(Group& group, RequestState& state) {
  owners_.emplace(&group, &state);
  absl::Cleanup disown = [&] { owners_.erase(&group); };
  scheduler_.Add(group, std::chrono::duration<double>(time_.Now().time_since_epoch()).count());
  std::move(disown).Cancel();
}

RequestState* ActiveRequests::OwnerOf(Group* group) const {
  const auto owner = owners_.find(group);
  return owner != owners_.end() ? owner->second : nullptr;
}

void ActiveRequests::BeforeStep(RequestState& state) {
  if (!state.was_scheduled()) options_.on_left_queue();
  state.BeforeStep(time_.Now());
}

void ActiveRequests::EndGroup(Group& group) {
  const auto owner = owners_.find(&group);
  if (owner == owners_.end()) return;  // it went with its request
  if (owner->second->finished()) return End(*owner->second);
  owners_.erase(owner);
  scheduler_.Remove(group);
}

bool ActiveRequests::Fail(RequestState* state, const absl::Status& status) {
  if (active_.count(state) == 0) return false;
  state->Fail(CatchExceptions([&] { return UnsharedCopy(status); }), time_.Now());
  End(*state);
  return true;
}

void ActiveRequests::Finish(RequestState& state, FinishReason reason, const std::function<absl::Status()>& error) {
  state.Finish(reason, CatchExceptions(error), time_.Now());
  End(state);
}

void ActiveRequests::DropEnded() {
  const Clock::time_point now = time_.Now();
  for (auto next = active_.begin(); next != active_.end();) {
    RequestState& state = *(next++)->second;
    const RequestStage stage = state.was_scheduled() ? RequestStage::kRunning : RequestStage::kQueue;
    if (IsTooLate(state, now)) {
      telemetry_.deadlines_expired[stage].Add();
      Finish(state, FinishReason::kDeadline, [&] { return DeadlineError(state.request()); });
    } else if (state.stream().cancelled()) {
      Finish(state, FinishReason::kCancelled, [] { return absl::CancelledError("the request was cancelled"); });
    } else if (const auto stalls = StallsAt(state); stalls.has_value() && *stalls <= now) {
      telemetry_.stream_stalls[stage].Add();
      Finish(state, FinishReason::kStalled, [&] {
        return absl::AbortedError(absl::StrCat("the client took nothing for ", options_.stall_timeout.count(),
                                               " ms (--stream-stall-timeout)"));
      });
    }
  }
}

bool ActiveRequests::DropHopeless(const Step& step, const StepRates& rates) {
  // SecondsToRead is a lower bound; to be safe it must exceed the time left by this factor.
  constexpr double kClearly = 4;
  bool any = false;
  for (const Step::GroupPart& part : step.groups) {
    RequestState* const state = OwnerOf(part.group);
    if (state == nullptr) continue;  // it went with its request
    // The prefix cache is taken into account here; before admission its hits are not known.
    const int64_t tokens = part.group->Remaining();
    const std::optional<double> needed = rates.SecondsToRead(tokens);
    if (state->was_scheduled() || !state->request().deadline.has_value() || !needed.has_value()) continue;
    const double left = std::chrono::duration<double>(*state->request().deadline - time_.Now()).count();
    if (*needed <= kClearly * left) continue;
    telemetry_.deadlines_expired[RequestStage::kQueue].Add();
    Finish(*state, FinishReason::kDeadline, [&] {
      return absl::DeadlineExceededError(absl::StrFormat(
          "the deadline leaves %.3f s, reading the prompt's %d tokens takes at least about %.3f s: not begun",
          std::max(left, 0.0), tokens, *needed));
    });
    any = true;
  }
  return any;
}

void ActiveRequests::EndAll(const std::function<absl::Status()>& error) {
  while (!active_.empty()) Finish(*active_.begin()->first, FinishReason::kUnavailable, error);
}

void ActiveRequests::PauseFullStreams() {
  for (const auto& [key, state] : active_) {
    const bool has_room = state->stream().HasRoom(1 + static_cast<size_t>(state->steps_in_flight()));
    for (Group& group : state->groups()) group.paused = !has_room;
  }
}

std::optional<Clock::time_point> ActiveRequests::NextDeadline() const {
  std::optional<Clock::time_point> next;
  for (const auto& [key, state] : active_) {
    const std::optional<Clock::time_point>& deadline = state->request().deadline;
    for (const auto& end : {deadline, StallsAt(*state)}) {
      if (end.has_value() && (!next.has_value() || *end < *next)) next = end;
    }
  }
  return next;
}

int64_t ActiveRequests::PublishProgress() const {
  int64_t running = 0;
  for (const auto& [key, state] : active_) {
    state->PublishProgress();
    if (state->was_scheduled()) ++running;
  }
  return running;
}

void ActiveRequests::TellReaders() {
  for (size_t i = 0; i < ready_.size(); ++i) ready_[i]->TellReader(/*more=*/i + 1 < ready_.size());
  ready_.clear();
}

void ActiveRequests::LetGo() {
  for (StatePtr* at = &leaving_; *at != nullptr;) {
    if ((*at)->steps_in_flight() > 0) {
      at = &(*at)->next_leaving;
    } else {
      *at = StatePtr(std::move((*at)->next_leaving));
    }
  }
}

void ActiveRequests::End(RequestState& state) {
  TellReaders();  // `ready` may hold its stream
  for (Group& group : state.groups()) {
    if (owners_.erase(&group) > 0) scheduler_.Remove(group);
  }
  state.stream().SetOnRoom(nullptr);
  if (!state.was_scheduled()) options_.on_left_queue();
  // Not in active_ where it ends because there was no memory to add it.
  if (const auto active = active_.find(&state); active != active_.end()) {
    if (state.steps_in_flight() > 0) {
      state.next_leaving = std::move(leaving_);
      leaving_ = std::move(active->second);
    }
    active_.erase(active);
  }
  options_.on_ended();
}

// A client that gives up at its deadline cancels, up to a hundredth early, because gRPC rounds a deadline up on its way
// here: such a cancellation counts as a passed deadline.
bool ActiveRequests::IsTooLate(const RequestState& state, Clock::time_point now) {
  const std::optional<Clock::time_point>& deadline = state.request().deadline;
  if (!deadline.has_value()) return false;
  const Clock::duration left = *deadline - now;
  return left <= Clock::duration(0) || (state.stream().cancelled() && left * 100 <= *deadline - state.submitted());
}

std::optional<Clock::time_point> ActiveRequests::StallsAt(const RequestState& state) const {
  if (options_.stall_timeout.count() == 0) return std::nullopt;
  const std::optional<Clock::time_point> since = state.stream().FullSince();
  if (!since.has_value()) return std::nullopt;
  return *since + options_.stall_timeout;
}

}  // namespace longhaul
