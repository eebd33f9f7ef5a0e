#pragma once

namespace CLI {
class App;
}

namespace longhaul {

// Adds `longhaul evaluate`; see AddCommands.
void AddEvaluateCommand(CLI::App& app, int& exit_code);

}  // namespace longhaul
