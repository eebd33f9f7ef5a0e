#pragma once

namespace CLI {
class App;
}

namespace longhaul {

// Adds `chat` to `app`; see AddCommands.
void AddChatCommand(CLI::App& app, int& exit_code);

}  // namespace longhaul
