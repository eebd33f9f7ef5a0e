#include "engine/base/log.h"

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <string>

#include "engine/base/printable.h"
#include "engine/base/quoted.h"
#include "engine/base/terminal.h"

namespace longhaul {
namespace {

spdlog::level::level_enum ToSpdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
    case LogLevel::kOff:
      return spdlog::level::off;
  }
  return spdlog::level::off;
}

spdlog::logger& Logger() {
  static const auto logger = [] {
    auto made = spdlog::stderr_color_mt("longhaul",
                                        HasColours(stderr) ? spdlog::color_mode::automatic : spdlog::color_mode::never);
    made->set_pattern("%Y-%m-%dT%H:%M:%S.%e %^%l%$ %v");
    made->flush_on(spdlog::level::info);
    return made;
  }();
  return *logger;
}

}  // namespace

absl::Status SetLogLevel(std::string_view name) {
  if (name == "debug")
    Logger().set_level(spdlog::level::debug);
  else if (name == "info")
    Logger().set_level(spdlog::level::info);
  else if (name == "warning")
    Logger().set_level(spdlog::level::warn);
  else if (name == "error")
    Logger().set_level(spdlog::level::err);
  else if (name == "off")
    Logger().set_level(spdlog::level::off);
  else
    return absl::InvalidArgumentError(
        absl::StrCat("log level ", Quoted(name), " is not one of debug, info, warning, error, off"));
  return absl::OkStatus();
}

bool LogEnabled(LogLevel level) {
  return Logger().should_log(ToSpdlog(level));
}

void Log(LogLevel level, std::string_view line) {
  if (LogEnabled(level)) Logger().log(ToSpdlog(level), Printable(line));
}

}  // namespace longhaul
