#include "engine/base/command_line/run_program.h"

#include <cerrno>  // program_invocation_short_name
#include <string>

#include "absl/strings/str_cat.h"
#include "engine/base/command_line/standard_output.h"
#include "engine/base/exceptions.h"
#include "engine/base/log.h"

namespace longhaul {

int RunProgram(int argc, char** argv, int (*program)(int argc, char** argv)) {
  BeginStandardOutput();
  int exit_code = 1;
  const absl::Status status = CatchExceptions([&] {
    exit_code = program(argc, argv);
    return absl::OkStatus();
  });
  if (!status.ok()) {
    const std::string why = status == OutOfMemoryError() ? "out of memory" : std::string(status.message());
    PrintError(absl::StrCat(program_invocation_short_name, ": ", why));
    FlushLog();
  }
  return EndStandardOutput(exit_code);
}

}  // namespace longhaul
