#include "client/loadgen/live_line.h"

#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <string>

#include "absl/strings/str_format.h"
#include "client/evaluation/progress.h"
#include "client/loadgen/duration.h"
#include "engine/base/terminal.h"

namespace longhaul::loadgen {
namespace {

void Show(LoadRun& run, double seconds, const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any changed;
  RunProgress before;
  while (!stop.stop_requested()) {
    const RunProgress now = run.Progress();
    const double passed = now.seconds - before.seconds;
    std::string line = ProgressLine::TimeText(now.seconds);
    if (std::isfinite(seconds)) absl::StrAppendFormat(&line, "/%s", ProgressLine::TimeText(seconds));
    absl::StrAppendFormat(&line, "  %d sent, %d running, %d ended, %d failed  %.0f tokens/s  first token p50 %s p99 %s",
                          now.sent, now.running, now.ended, now.failed,
                          passed > 0 ? static_cast<double>(now.tokens - before.tokens) / passed : 0,
                          DurationText(now.ttft_p50), DurationText(now.ttft_p99));
    std::fprintf(stderr, "\r\033[K%s", line.c_str());
    std::fflush(stderr);
    before = now;
    std::unique_lock lock(mutex);
    changed.wait_for(lock, stop, std::chrono::milliseconds(500), [] { return false; });
  }
  std::fprintf(stderr, "\r\033[K");
  std::fflush(stderr);
}

}  // namespace

LiveLine::LiveLine(LoadRun& run, double seconds, bool quiet) {
  if (quiet || !CanRewriteLine(stderr)) return;
  thread_ = std::jthread([&run, seconds](const std::stop_token& stop) { Show(run, seconds, stop); });
}

LiveLine::~LiveLine() = default;

}  // namespace longhaul::loadgen
