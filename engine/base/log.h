#pragma once

#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

// The one door to the logging library: lines on standard error, thread-safe. What is logged is made printable (see
// Printable): no text of a file or a client can forge a second line or reach a terminal as an escape code.
namespace longhaul {

enum class LogLevel { kDebug, kInfo, kWarning, kError, kOff };

// Accepts debug, info, warning, error and off. INVALID_ARGUMENT otherwise.
absl::Status SetLogLevel(std::string_view name);

// Whether a line of this level would be written: ask before building an expensive one.
bool LogEnabled(LogLevel level);

void Log(LogLevel level, std::string_view line);

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
