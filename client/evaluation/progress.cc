#include "client/evaluation/progress.h"

#include <unistd.h>

#include <cmath>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace longhaul {
namespace {

std::string Left(double seconds) {
  return seconds < 0 ? "" : absl::StrCat("; ", ProgressLine::TimeText(seconds), " left");
}

}  // namespace

ProgressLine::Style ProgressLine::StyleFor(bool quiet) {
  if (quiet) return Style::kQuiet;
  return isatty(STDERR_FILENO) != 0 ? Style::kTerminal : Style::kLines;
}

std::string ProgressLine::TimeText(double seconds) {
  const auto s = static_cast<int64_t>(std::lround(seconds));
  return s < 3600 ? absl::StrFormat("%d:%02d", s / 60, s % 60)
                  : absl::StrFormat("%d:%02d:%02d", s / 3600, s / 60 % 60, s % 60);
}

void ProgressLine::Running(const std::string& request, double share, double seconds_left) {
  if (style_ != Style::kTerminal) return;
  std::fprintf(stderr, "\r\033[K[%lld/%lld] %s: %.0f %%%s", static_cast<long long>(finished_),
               static_cast<long long>(total_), request.c_str(), 100 * share, Left(seconds_left).c_str());
  std::fflush(stderr);
  shown_ = true;
}

void ProgressLine::Finished(const std::string& request, const std::string& result, double seconds,
                            double seconds_left) {
  ++finished_;
  if (style_ != Style::kLines) return;
  std::fprintf(stderr, "[%lld/%lld] %s: %s, %.1f s%s\n", static_cast<long long>(finished_),
               static_cast<long long>(total_), request.c_str(), result.c_str(), seconds, Left(seconds_left).c_str());
}

void ProgressLine::Note(const std::string& message) {
  if (style_ == Style::kQuiet) return;
  Clear();
  std::fprintf(stderr, "%s\n", message.c_str());
}

void ProgressLine::Clear() {
  if (shown_) std::fprintf(stderr, "\r\033[K");
  shown_ = false;
}

}  // namespace longhaul
