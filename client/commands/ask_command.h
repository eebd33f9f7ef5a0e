#pragma once

namespace CLI {
class App;
}

namespace longhaul {

// Adds `ask`, as AddCommands.
void AddAskCommand(CLI::App& app, int& exit_code);

}  // namespace longhaul
