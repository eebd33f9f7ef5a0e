#pragma once

#include <cstdint>
#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

// The only interface to the logging library: lines on standard error, thread-safe. Lines are made printable (see
// Printable): no text of a file or a client can forge a second line or reach a terminal as an escape code.
//
// Nobody waits for standard error, which may be a pipe that nobody reads: a thread of its own writes the lines. Where
// too many wait, lines are dropped and counted, and a later line says how many. exit() gives lines that still wait one
// second; _Exit() and signals give them none.
namespace longhaul {

enum class LogLevel { kDebug, kInfo, kWarning, kError, kOff };

// Accepts debug, info, warning, error and off. INVALID_ARGUMENT otherwise.
absl::Status SetLogLevel(std::string_view name);

// Whether a line of this level would be written: ask before building an expensive one.
bool LogEnabled(LogLevel level);

// Logs one line. Throws nothing: without memory for it the line is dropped.
void Log(LogLevel level, std::string_view line) noexcept;

// Writes a line for the user whatever the level, without a time. Throws nothing.
void PrintError(std::string_view line) noexcept;

// Lines that were dropped, because too many waited or a write failed.
int64_t LogLinesDropped();

// Waits until all lines so far are written, at most a second. For code that ends the process by _Exit().
void FlushLog();

// From now on abort() calls FlushLog first, and an uncaught exception is logged. Call it once.
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
