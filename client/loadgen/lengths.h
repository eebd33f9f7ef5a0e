#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "client/loadgen/random.h"

namespace longhaul::loadgen {

// How many tokens a prompt or an answer has; always at least 1.
class Lengths {
 public:
  // One of (a flag's text; the error says what is allowed)
  //   N  or  fixed:N
  //   uniform:min=N,max=N
  //   lognormal:mean=X[,sigma=S][,min=N][,max=N]   X: the mean itself, not its logarithm, before min (1) and max (2^30)
  //                                                cut the tails; S (1) is the standard deviation of the logarithm
  //   file:PATH                                    numbers, one a line, each as probable as the others
  static absl::StatusOr<Lengths> Parse(std::string_view text);

  int64_t Draw(Random& random) const;

  const std::string& text() const { return text_; }

 private:
  enum class Kind { kUniform, kLognormal, kFile };

  std::string text_;
  Kind kind_ = Kind::kUniform;
  int64_t min_ = 1, max_ = int64_t{1} << 30;
  double mean_ = 1, sigma_ = 1;
  std::vector<int64_t> choices_;
};

}  // namespace longhaul::loadgen
