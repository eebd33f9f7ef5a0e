#include "client/loadgen/arrivals.h"

#include <cmath>
#include <utility>

namespace longhaul::loadgen {
namespace {

// The time until which a rate of rate + slope * t comes to `expected` requests: the root of
// rate t + slope t^2 / 2 = expected, in the form that holds for slope 0 too.
double RampTime(double rate, double slope, double expected) {
  return 2 * expected / (rate + std::sqrt(rate * rate + 2 * slope * expected));
}

}  // namespace

Arrivals::Arrivals(ArrivalOptions options)
    : options_(std::move(options)), random_(options_.seed, Random::Purpose::kArrivals) {}

std::optional<double> Arrivals::Next() {
  const uint64_t number = number_++;
  const ArrivalOptions& o = options_;
  switch (o.kind) {
    case ArrivalOptions::Kind::kTrace:
      if (number >= o.times.size()) return std::nullopt;
      return o.times[number];
    case ArrivalOptions::Kind::kConstant:
      return static_cast<double>(number) / o.rate;
    case ArrivalOptions::Kind::kPoisson:
      expected_ += random_.Exponential();
      return expected_ / o.rate;
    case ArrivalOptions::Kind::kRamp:
      break;
  }
  expected_ += random_.Exponential();
  const double whole_ramp = o.ramp_seconds * (o.rate + o.ramp_to) / 2;
  if (expected_ > whole_ramp) return o.ramp_seconds + (expected_ - whole_ramp) / o.ramp_to;
  return RampTime(o.rate, (o.ramp_to - o.rate) / o.ramp_seconds, expected_);
}

}  // namespace longhaul::loadgen
