#include "engine/base/log.h"

#include <spdlog/logger.h>
#include <spdlog/sinks/base_sink.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <utility>

#include "engine/base/counter.h"
#include "engine/base/line_writer.h"
#include "engine/base/printable.h"
#include "engine/base/quoted.h"
#include "engine/base/terminal.h"

namespace longhaul {
namespace {

constexpr size_t kQueueBytes = 1 << 20;
constexpr std::chrono::milliseconds kExitPatience{1000};

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

void TellDropped(int64_t lines) {
  LogWarning(lines, " lines of the log were dropped: standard error did not take them");
}

// Never destroyed: threads log to the very end.
LineWriter& Writer() {
  static LineWriter* const writer = [] {
    std::atexit(FlushLog);
    return new LineWriter(STDERR_FILENO, kQueueBytes, TellDropped);
  }();
  return *writer;
}

Counter lines_without_memory;

// Not spdlog's own queue: that drops the oldest lines silently, and its shutdown waits for a thread that may be
// blocked.
class QueueSink : public spdlog::sinks::base_sink<std::mutex> {
 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t formatted;
    formatter_->format(message, formatted);
    std::string line(formatted.data(), formatted.size());
    if (colours_) {
      line.insert(message.color_range_end, "\033[m");
      line.insert(message.color_range_start, ColourOf(message.level));
    }
    Writer().Write(std::move(line));
  }
  void flush_() override {}

  static const char* ColourOf(spdlog::level::level_enum level) {
    switch (level) {
      case spdlog::level::debug:
        return "\033[36m";  // cyan
      case spdlog::level::info:
        return "\033[32m";  // green
      case spdlog::level::warn:
        return "\033[1;33m";  // bright yellow
      default:
        return "\033[1;31m";  // bright red
    }
  }

  const bool colours_ = HasColours(stderr);
};

spdlog::logger& Logger() {
  static spdlog::logger* const logger = [] {
    auto* const made = new spdlog::logger("longhaul", std::make_shared<QueueSink>());
    made->set_pattern("%Y-%m-%dT%H:%M:%S.%e %^%l%$ %v");
    // The default handler writes to standard error.
    made->set_error_handler([](const std::string&) { lines_without_memory.Add(); });
    return made;
  }();
  return *logger;
}

// Replaces the standard library's terminate handler, which writes to standard error directly.
[[noreturn]] void EndUncaught() {
  try {
    if (std::current_exception() != nullptr) std::rethrow_exception(std::current_exception());
    PrintError("terminated without an exception");
  } catch (const std::exception& error) {
    PrintError(error.what());
  } catch (...) {
    PrintError("terminated by an exception of an unknown type");
  }
  std::abort();
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

void Log(LogLevel level, std::string_view line) noexcept {
  try {
    if (LogEnabled(level)) Logger().log(ToSpdlog(level), Printable(line));
  } catch (const std::bad_alloc&) {
    lines_without_memory.Add();
  }
}

void PrintError(std::string_view line) noexcept {
  try {
    Writer().Write(Printable(line) + "\n");
  } catch (const std::bad_alloc&) {
    lines_without_memory.Add();
  }
}

int64_t LogLinesDropped() {
  return Writer().dropped() + lines_without_memory.value();
}

void FlushLog() {
  Writer().Flush(kExitPatience);
}

void FlushLogBeforeAbort() {
  Writer();  // created here, because a signal handler must not create it
  std::set_terminate(EndUncaught);
  std::signal(SIGABRT, [](int) { FlushLog(); });
}

}  // namespace longhaul
