#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/evaluation/measurement.h"
#include "client/evaluation/request.h"

namespace longhaul {

// What an evaluation does with a mode at a length.
class Task {
 public:
  virtual ~Task() = default;

  // INVALID_ARGUMENT says why the task makes no sense at this length, and names the flag.
  virtual absl::Status CheckLength(int64_t length) const = 0;

  // What one cell repeats; the same for every mode and length.
  virtual std::vector<Repetition> Repetitions() const = 0;

  // Asks the server. `done` has position, length and sample filled in; the rest is filled in here.
  virtual absl::Status Run(Client& client, const v1::PositionMode& position, const OnProgress& on_progress,
                           Measurement& done) const = 0;

  // What Run found, for the progress line: "2.8731 nat per token".
  virtual std::string Describe(const Measurement& done) const = 0;
};

}  // namespace longhaul
