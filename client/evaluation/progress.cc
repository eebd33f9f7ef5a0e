#include "client/evaluation/progress.h"

#include <cmath>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/base/terminal.h"

namespace longhaul {
namespace {

std::string Left(double seconds) {
  return seconds < 0 ? "" : absl::StrCat("; ", ProgressLine::TimeText(seconds), " left");
}

}  // namespace

ProgressLine::Style ProgressLine::StyleFor(bool quiet) {
  if (quiet) return Style::kQuiet;
  return CanRewriteLine(stderr) ? Style::kTerminal : Style::kLines;
}

std::string ProgressLine::TimeText(double seconds) {
  const auto s = static_cast<int64_t>(std::lround(seconds));
  return s < 3600 ? absl::StrFormat("%d:%02d", s / 60, s % 60)
                  : absl::StrFormat("%d:%02d:%02d", s / 3600, s / 60 % 60, s % 60);
}

void ProgressLine::Running(const std::string& request, double share, double seconds_left) {
  if (style_ != Style::kTerminal) return;
  absl::FPrintF(stderr, "\r\033[K[%d/%d] %s: %.0f %%%s", finished_, total_, request, 100 * share, Left(seconds_left));
  std::fflush(stderr);
  shown_ = true;
}

void ProgressLine::Finished(const std::string& request, const std::string& result, double seconds,
                            double seconds_left) {
  ++finished_;
  if (style_ != Style::kLines) return;
  absl::FPrintF(stderr, "[%d/%d] %s: %s, %.1f s%s\n", finished_, total_, request, ForTerminal(stderr, result), seconds,
                Left(seconds_left));
}

void ProgressLine::Note(const std::string& message) {
  if (style_ == Style::kQuiet) return;
  Clear();
  absl::FPrintF(stderr, "%s\n", TextForTerminal(stderr, message));
}

void ProgressLine::Clear() {
  if (shown_) std::fprintf(stderr, "\r\033[K");
  shown_ = false;
}

}  // namespace longhaul
