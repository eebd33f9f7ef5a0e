#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "server/server.h"

namespace longhaul {

// All that the command line, the environment and the configuration file say.
struct ServerFlags {
  EngineOptions engine;
  ServerOptions server;
  std::string metrics_listen;  // empty: no metrics
  std::string health_listen;   // empty: no health port of its own
  std::string port_file;
  std::string instruction_set = "auto";
  std::string log_level = "info";
  std::chrono::milliseconds drain_timeout{30000};
  std::vector<std::string> warnings;  // for the log: what is probably not meant
};

// None when the program is to end with `exit_code`: help was printed (0), or a message about a wrong flag (2).
std::optional<ServerFlags> ParseServerFlags(int argc, char** argv, int* exit_code);

}  // namespace longhaul
