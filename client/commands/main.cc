#include "client/commands/commands.h"
#include "engine/base/command_line/command_line.h"
#include "engine/base/command_line/run_program.h"

namespace {

int Main(int argc, char** argv) {
  CLI::App app{
      "Asks a longhaul server.\n"
      "  longhaul generate \"Once upon a time\"\n"
      "  longhaul chat \"Why is the sky blue?\"\n"
      "  longhaul COMMAND --help\n"
      "Exit codes: 0 fine, 1 the server failed, 2 a wrong flag or request, 3 the model cannot do it, 4 no server (or "
      "it is\n"
      "loading or shutting down), 5 the server is full, 6 the deadline passed, 7 no such request, 130 cancelled."};
  app.require_subcommand(1);
  int exit_code = 0;
  longhaul::AddCommands(app, exit_code);
  const std::optional<int> ended = longhaul::ParseCommandLine(app, argc, argv);
  return ended.value_or(exit_code);
}

}  // namespace

int main(int argc, char** argv) {
  return longhaul::RunProgram(argc, argv, Main);
}
