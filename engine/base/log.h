#pragma once

#include <cstdint>
#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

// The one door to the logging library: lines on standard error, thread-safe. What is logged is made printable (see
// Printable): no text of a file or a client can forge a second line or reach a terminal as an escape code.
//
// Nobody waits for standard error, which may be a pipe that nobody reads: lines are written by a thread of their own,
// which is there from the first line on, and dropped and counted where too many wait. A line says so once writing works
// again. exit() gives what still waits one second; _Exit() and signals give it none.
namespace longhaul {

enum class LogLevel { kDebug, kInfo, kWarning, kError, kOff };

// Accepts debug, info, warning, error and off. INVALID_ARGUMENT otherwise.
absl::Status SetLogLevel(std::string_view name);

// Whether a line of this level would be written: ask before building an expensive one.
bool LogEnabled(LogLevel level);

// Does not throw: a line that there is no memory for is dropped.
void Log(LogLevel level, std::string_view line) noexcept;

// A line for the user whatever the level, as it stands, without a time. Does not throw either.
void PrintError(std::string_view line) noexcept;

// Lines that were not written because nobody took those before them, or because they could not be.
int64_t LogLinesDropped();

// Waits until what was logged so far is written, for a second at most. For those who end the process by _Exit().
void FlushLog();

// From now on abort() does that first, and an exception that nobody catches is told through the log. Call it once.
void FlushLogBeforeAbort();

template <typename... Parts>
void LogDebug(const Parts&... parts) {
  if (LogEnabled(LogLevel::kDebug)) Log(LogLevel::kDebug, absl::StrCat(parts...));
}
template <typename... Parts>
void LogInfo(const Parts&... parts) {
  if (LogEnabled(LogLevel::kInfo)) Log(LogLevel::kInfo, absl::StrCat(parts...));
}
template <typename... Parts>
void LogWarning(const Parts&... parts) {
  Log(LogLevel::kWarning, absl::StrCat(parts...));
}
template <typename... Parts>
void LogError(const Parts&... parts) {
  Log(LogLevel::kError, absl::StrCat(parts...));
}

}  // namespace longhaul
