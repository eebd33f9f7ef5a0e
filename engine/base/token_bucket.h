#pragma once

#include <algorithm>
#include <chrono>

namespace longhaul {

// Bounds a rate and lets bursts pass: holds at most `capacity` tokens and gains so many a second. Time is passed in and
// never goes back. One thread.
class TokenBucket {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  TokenBucket(double capacity, double per_second) : capacity_(capacity), per_second_(per_second), tokens_(capacity) {}

  // Whether there are `n` tokens; Take takes them then.
  bool Has(double n, TimePoint now) {
    if (now > last_) {
      // The first time, however much time that seems to be, it is full already.
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

  // How many of `capacity` are gone, at the time of the last call.
  double missing() const { return capacity_ - tokens_; }

  bool full(TimePoint now) { return Has(capacity_, now); }

  // Adds `n` tokens, beside those of time.
  void Give(double n) { tokens_ = std::min(capacity_, tokens_ + n); }

 private:
  const double capacity_, per_second_;
  double tokens_;
  TimePoint last_;
};

}  // namespace longhaul
