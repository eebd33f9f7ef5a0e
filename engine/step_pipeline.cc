#include "engine/step_pipeline.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "engine/base/exceptions.h"

namespace longhaul {

absl::Status StepPipeline::Submit(Step step, Clock::time_point begin) {
  const size_t before = in_flight_.size();
  const absl::Status status = CatchExceptions([&]() -> absl::Status {
    InFlight& flying = in_flight_.emplace_back();  // first, since nothing may fail once the step was submitted
    flying.begin = begin;
    flying.submitted = time_.Now();
    auto ticket = runner_.Submit(std::move(step.batch));
    if (!ticket.ok()) return std::move(ticket).status();
    scheduler_.OnSubmitted(step);
    flying.ticket = *ticket;
    flying.step = std::move(step);
    return absl::OkStatus();
  });
  if (!status.ok() && in_flight_.size() > before) in_flight_.pop_back();
  return status;
}

StepPipeline::Done StepPipeline::Collect() {
  InFlight flying = std::move(in_flight_.front());
  in_flight_.pop_front();
  Done done{.step = std::move(flying.step), .result = absl::UnknownError("")};
  const absl::Status caught = CatchExceptions([&] {
    done.result = runner_.Collect(flying.ticket);
    return absl::OkStatus();
  });
  if (!caught.ok()) done.result = caught;
  done.begin = flying.begin;
  done.submitted = flying.submitted;
  done.end = time_.Now();
  done.seconds = std::chrono::duration<double>(done.end - std::max(flying.submitted, last_end_)).count();
  last_end_ = done.end;
  return done;
}

}  // namespace longhaul
