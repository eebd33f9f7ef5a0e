#pragma once

namespace CLI {
class App;
}

namespace longhaul::loadgen {

// Gives `app` the flags of longhaul-bench; the load runs while the command line is parsed, and puts the program's exit
// code into `exit_code`.
void AddBench(CLI::App& app, int& exit_code);

}  // namespace longhaul::loadgen
