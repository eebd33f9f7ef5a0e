#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace longhaul {

// Finds stop strings in text that arrives in pieces, also across their borders, and holds back text that may still
// become one. The stop string itself is never released. Where the pieces end changes only when text is released. Given
// whole UTF-8 characters it releases whole characters.
class StopMatcher {
 public:
  // REQUIRES: no stop string is empty.
  explicit StopMatcher(std::vector<std::string> stop_strings);

  // Adds text; returns what can be released now. The stop string that is complete first ends the text; of several that
  // are complete at the same byte, the one that begins first. Then everything before it is released, `stopped()` is
  // true, and further text is dropped.
  std::string Append(std::string_view text);

  // The end of the text: releases what was held back (empty after a match).
  std::string Finish();

  bool stopped() const { return stopped_; }

 private:
  // One stop string as a Knuth-Morris-Pratt automaton: each byte is looked at once, whatever the strings are.
  struct Pattern {
    explicit Pattern(std::string string);
    void Feed(char byte);
    bool complete() const { return matched == text.size(); }

    std::string text;
    std::vector<size_t> border;  // of text[0..i]: its longest proper prefix that is also its suffix
    size_t matched = 0;          // bytes of `text` that the input ends with
  };

  std::vector<Pattern> patterns_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace longhaul
