#pragma once

#include <cstdint>
#include <string>

namespace longhaul {

// How far an evaluation is, on standard error: one line that changes on a terminal, else one line for each finished
// request, nothing when quiet.
class ProgressLine {
 public:
  enum class Style { kQuiet, kLines, kTerminal };

  // `total`: requests, `finished` of them done before.
  ProgressLine(Style style, int64_t finished, int64_t total) : style_(style), finished_(finished), total_(total) {}
  ~ProgressLine() { Clear(); }

  // Quiet if asked for; otherwise as standard error is a terminal or not.
  static Style StyleFor(bool quiet);

  // `share` of the request that runs is done. `seconds_left`, of all requests: below 0 when not known.
  void Running(const std::string& request, double share, double seconds_left);

  void Finished(const std::string& request, const std::string& result, double seconds, double seconds_left);

  // Prints a note on a line of its own.
  void Note(const std::string& message);

  // "1:02:03", "4:05"
  static std::string TimeText(double seconds);

 private:
  void Clear();

  const Style style_;
  int64_t finished_;
  const int64_t total_;
  bool shown_ = false;
};

}  // namespace longhaul
