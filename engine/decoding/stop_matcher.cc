#include "engine/decoding/stop_matcher.h"

#include <algorithm>
#include <utility>

namespace longhaul {

StopMatcher::Pattern::Pattern(std::string string) : text(std::move(string)), border(text.size(), 0) {
  for (size_t i = 1; i < text.size(); ++i) {
    size_t length = border[i - 1];
    while (length > 0 && text[i] != text[length]) length = border[length - 1];
    border[i] = text[i] == text[length] ? length + 1 : 0;
  }
}

void StopMatcher::Pattern::Feed(char byte) {
  while (matched > 0 && text[matched] != byte) matched = border[matched - 1];
  if (text[matched] == byte) ++matched;
}

StopMatcher::StopMatcher(std::vector<std::string> stop_strings) {
  for (std::string& stop : stop_strings) patterns_.emplace_back(std::move(stop));
}

std::string StopMatcher::Append(std::string_view text) {
  if (stopped_ || text.empty()) return {};
  if (patterns_.empty()) return std::string(text);
  size_t pending = 0;  // bytes at the end that may be, or are, a stop string
  for (char byte : text) {
    held_.push_back(byte);
    pending = 0;
    for (Pattern& pattern : patterns_) {
      pattern.Feed(byte);
      if (pattern.complete()) {
        pending = stopped_ ? std::max(pending, pattern.matched) : pattern.matched;
        stopped_ = true;
      } else if (!stopped_) {
        pending = std::max(pending, pattern.matched);
      }
    }
    if (stopped_) break;
  }
  std::string released = held_.substr(0, held_.size() - pending);
  held_ = stopped_ ? std::string() : held_.substr(held_.size() - pending);
  return released;
}

std::string StopMatcher::Finish() {
  return std::exchange(held_, std::string());
}

}  // namespace longhaul
