#include "server/lifecycle/library_logs.h"

#include <google/protobuf/stubs/logging.h>
#include <grpc/support/log.h>

#include <exception>
#include <string>

#include "absl/strings/str_cat.h"
#include "engine/base/log.h"

namespace longhaul {
namespace {

// `file` as the library's compiler saw it.
std::string_view BaseName(std::string_view file) {
  return file.substr(file.rfind('/') + 1);
}

void LogThrottled(const char* library, const char* file, int line, const std::string& message) {
  static LogThrottle& throttle = *new LogThrottle;
  const std::optional<int64_t> left_out = throttle.Admit(file, line, std::chrono::steady_clock::now());
  if (!left_out.has_value()) return;
  const std::string_view name = BaseName(file);
  LogWarning(library, ", ", std::string(name), ":", line, ": ", message,
             *left_out == 0 ? "" : absl::StrCat(" (and ", *left_out, " more of this before)"));
}

// Calls from libraries that do not expect an exception.
template <typename Function>
void IgnoreExceptions(const Function& function) {
  try {
    function();
  } catch (const std::exception&) {  // no memory for a line
  }
}

void LogProtobuf(google::protobuf::LogLevel level, const char* file, int line, const std::string& message) {
  IgnoreExceptions([&] {
    if (level == google::protobuf::LOGLEVEL_FATAL) {
      LogError("protobuf, ", std::string(BaseName(file)), ":", line, ": ", message);
    } else {
      LogThrottled("protobuf", file, line, message);
    }
  });
}

// Called for what GRPC_VERBOSITY lets through.
void LogGrpc(gpr_log_func_args* args) {
  IgnoreExceptions([&] {
    if (args->severity == GPR_LOG_SEVERITY_ERROR) {
      LogThrottled("gRPC", args->file, args->line, args->message);
    } else {
      LogInfo("gRPC, ", std::string(BaseName(args->file)), ":", args->line, ": ", args->message);
    }
  });
}

}  // namespace

std::optional<int64_t> LogThrottle::Admit(std::string_view file, int line, TimePoint now) {
  MutexLock lock(mutex_);
  Place& place = places_[{file, line}];
  if (!place.tokens.Take(1, now)) {
    ++place.left_out;
    return std::nullopt;
  }
  return std::exchange(place.left_out, 0);
}

void TakeOverLibraryLogs() {
  google::protobuf::SetLogHandler(LogProtobuf);
  gpr_set_log_function(LogGrpc);
}

}  // namespace longhaul
