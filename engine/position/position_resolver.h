#pragma once

#include <cstdint>
#include <optional>

#include "absl/status/statusor.h"
#include "engine/position/position_mode.h"
#include "engine/position/rotary_plan.h"

namespace longhaul {

// A mode that has become a plan.
struct ResolvedPosition {
  PositionMode mode;  // concrete: never Auto; every parameter, L included, filled in
  RotaryPlan plan;
  std::optional<int64_t> reach;   // tokens that the plan holds; none = no bound
  bool past_recommended = false;  // the length is where the mode is known to get worse, though within its reach
  bool refit = false;             // Auto or a fit chose another plan than the plain one
};

// Makes plans of modes for one model. Immutable: any thread.
class PositionResolver {
 public:
  // `default_mode`: what Auto becomes past L; not Auto itself. `trained_length`: L instead of the file's; 0 = the
  // file's. INVALID_ARGUMENT names what makes no sense, also a default mode that could never be resolved.
  static absl::StatusOr<PositionResolver> Create(const ModelRotation& rotation, const PositionMode& default_mode,
                                                 int64_t trained_length);

  // The plan of `mode` for a text of `length` tokens, prompt and answer together (0: L). Fitted parameters are those of
  // the smallest rung that holds it. A length beyond the reach is no error: the caller compares.
  // INVALID_ARGUMENT names the field ("position.rerope.window"), the value and what is allowed; FAILED_PRECONDITION
  // when the model file lacks what the mode needs.
  absl::StatusOr<ResolvedPosition> Resolve(const PositionMode& mode, int64_t length) const;

  // The model's own rotation.
  const RotaryPlan& plain_plan() const { return plain_; }
  // L when a request names none.
  int64_t trained_length() const { return trained_length_; }

 private:
  PositionResolver(const ModelRotation& rotation, RotaryPlan plain, const PositionMode& default_mode,
                   int64_t trained_length);

  ModelRotation rotation_;
  RotaryPlan plain_;
  PositionMode default_mode_;
  int64_t trained_length_;
};

}  // namespace longhaul
