#pragma once

#include <algorithm>
#include <chrono>

namespace longhaul {

// Limits a rate but lets bursts pass: holds at most `capacity` tokens, gains `per_second` tokens a second, and starts
// full. Time is passed in and never goes back. One thread.
class TokenBucket {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  TokenBucket(double capacity, double per_second) : capacity_(capacity), per_second_(per_second), tokens_(capacity) {}

  // Has tells whether there are `n` tokens; Take also removes them if there are.
  bool Has(double n, TimePoint now) {
    if (now > last_) {
      // At the first call the time since last_ means nothing, but the bucket is full anyway.
      Give(per_second_ * std::chrono::duration<double>(now - last_).count());
      last_ = now;
    }
    return tokens_ >= n;
  }
  bool Take(double n, TimePoint now) {
    if (!Has(n, now)) return false;
    tokens_ -= n;
    return true;
  }

  // Tokens missing from `capacity`, as of the last call.
  double missing() const { return capacity_ - tokens_; }

  bool full(TimePoint now) { return Has(capacity_, now); }

  // Adds `n` tokens, up to `capacity`.
  void Give(double n) { tokens_ = std::min(capacity_, tokens_ + n); }

 private:
  const double capacity_, per_second_;
  double tokens_;
  TimePoint last_;
};

}  // namespace longhaul
