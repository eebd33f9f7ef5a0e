#include "client/evaluation/plot.h"

#include <unistd.h>

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "client/evaluation/child_process.h"
#include "client/io/files.h"

namespace longhaul {

absl::Status Plot(const std::string& task, const std::string& result, const std::vector<std::string>& outputs) {
  const std::string python = CacheFolder() / "client-venv" / "bin" / "python";
  // Isolated: $PYTHONPATH and its like are meant for other programs.
  std::vector<std::string> arguments = {python, "-I", "-m", "longhaul_plots", task, result};
  for (const std::string& output : outputs) {
    arguments.emplace_back("--output");
    arguments.push_back(output);
  }
  if (access(python.c_str(), X_OK) != 0) {
    std::string command = "-m longhaul_plots";
    for (size_t i = 4; i < arguments.size(); ++i) absl::StrAppend(&command, " ", arguments[i]);
    return absl::FailedPreconditionError(
        absl::StrCat("--plot: nothing is drawn, since ", python,
                     " is missing: run deploy/install_python_client.sh, then give the same command again or\n  ",
                     python, " ", command));
  }
  auto process = ChildProcess::Start(arguments, "");
  if (!process.ok()) return process.status();
  const std::optional<int> code = (*process)->WaitFor(std::chrono::minutes(2));
  if (code == 0) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("--plot: the drawing program ",
                                          code.has_value() ? absl::StrCat("failed with ", *code) : "took too long",
                                          "; its words stand above"));
}

}  // namespace longhaul
