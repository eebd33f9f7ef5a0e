#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace longhaul {

// Finds stop strings in text that arrives in pieces, also across their borders, and holds back what might still become
// one. The stop string itself is never released.
class StopMatcher {
 public:
  // REQUIRES: no stop string is empty.
  explicit StopMatcher(std::vector<std::string> stop_strings);

  // Adds text; returns what can be released now. After a match everything is released up to the first stop string and
  // `stopped()` is true. When several match, the one that begins first counts.
  std::string Append(std::string_view text);

  // The end of the text: releases what was held back (empty after a match).
  std::string Finish();

  bool stopped() const { return stopped_; }

 private:
  std::vector<std::string> stop_strings_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace longhaul
