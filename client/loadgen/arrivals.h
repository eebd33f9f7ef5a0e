#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "client/loadgen/random.h"

namespace longhaul::loadgen {

struct ArrivalOptions {
  enum class Kind {
    kPoisson,   // `rate` a second, independent of each other
    kConstant,  // one every 1 / rate seconds
    kRamp,      // Poisson; the rate goes from `rate` to `ramp_to` within `ramp_seconds` and stays
    kTrace,     // at `times`, in ascending order
  };
  Kind kind = Kind::kPoisson;
  double rate = 1, ramp_to = 1;  // requests a second, above 0
  double ramp_seconds = 1;       // above 0
  std::vector<double> times;     // seconds
  uint64_t seed = 0;
};

// When the requests of an open loop are meant to be sent, in seconds from the start, ascending.
class Arrivals {
 public:
  explicit Arrivals(ArrivalOptions options);

  // None at the end of a trace; the others have no end.
  std::optional<double> Next();

 private:
  const ArrivalOptions options_;
  Random random_;
  uint64_t number_ = 0;
  double expected_ = 0;  // requests that the rate comes to so far, Poisson in it
};

}  // namespace longhaul::loadgen
