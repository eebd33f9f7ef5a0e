#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "client/evaluation/interrupt.h"
#include "client/loadgen/arrivals.h"
#include "client/loadgen/load_run.h"
#include "client/loadgen/objective.h"
#include "client/loadgen/workload.h"

namespace longhaul::loadgen {

// What longhaul-bench was asked for.
struct BenchOptions {
  RunOptions run;
  WorkloadOptions workload;  // vocabulary and end_tokens come from the server
  ArrivalOptions arrivals;
  std::string arrivals_name, positions_text;
  std::vector<Objective> objectives;
  std::vector<double> sweep;               // rates, one run after the other; empty: one run
  std::vector<int64_t> sweep_concurrency;  // the same for closed loops
  std::string json;                        // a file; empty: none
  std::vector<std::string> plots;
  std::vector<std::string> command;  // as typed
  bool quiet = false;
};

// Exit codes beside those of `longhaul --help`.
constexpr int kObjectiveMissed = 7;

// Runs the load, prints the report and writes the files. `exit_code`: 0; that of the commonest error where no request
// was answered or cancelled as planned; kObjectiveMissed. The status: why there is no report or no file; CANCELLED
// after Ctrl-C, whose report stands there too.
absl::Status Bench(const BenchOptions& options, Interrupt& interrupt, int& exit_code);

}  // namespace longhaul::loadgen
