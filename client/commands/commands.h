#pragma once

namespace CLI {
class App;
}

namespace longhaul {

// Adds the subcommands to `app`; the one that was asked for runs while the command line is parsed, and puts the
// program's exit code into `exit_code`.
void AddCommands(CLI::App& app, int& exit_code);

}  // namespace longhaul
