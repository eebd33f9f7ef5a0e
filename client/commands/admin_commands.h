#pragma once

namespace CLI {
class App;
}

namespace longhaul {

// Adds `ps` and `cancel`, as AddCommands.
void AddAdminCommands(CLI::App& app, int& exit_code);

}  // namespace longhaul
