#pragma once

#include <sys/types.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace longhaul {

// A program that runs no longer than this one: it is ended with the object, and the kernel ends it when this process
// dies in whatever way. It is a process group of its own, which Ctrl-C on the terminal does not reach.
// REQUIRES: started by a thread that lives as long as the process (the kernel watches the thread).
class ChildProcess {
 public:
  // `arguments[0]` is a path, or a name that is looked up in PATH. `log` gets its standard error and output; empty:
  // ours.
  static absl::StatusOr<std::unique_ptr<ChildProcess>> Start(const std::vector<std::string>& arguments,
                                                             const std::string& log);
  // Stop()
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  // The exit code (128 + the signal that ended it) once it has ended.
  std::optional<int> ExitCode();

  // Waits for its end at most so long.
  std::optional<int> WaitFor(std::chrono::milliseconds timeout);

  // SIGTERM, and SIGKILL if it takes longer than 10 seconds.
  void Stop();

 private:
  explicit ChildProcess(pid_t pid) : pid_(pid) {}

  const pid_t pid_;
  std::optional<int> exit_code_;
};

}  // namespace longhaul
