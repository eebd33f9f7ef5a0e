#pragma once

#include <string>
#include <vector>

#include "client/loadgen/load_run.h"
#include "client/loadgen/objective.h"
#include "longhaul/v1/inference.pb.h"

namespace longhaul::loadgen {

// One run and what it was asked for, as words and numbers of the report.
struct RunReport {
  RunResult result;
  std::vector<Objective> objectives;
  bool closed = false;
  double rate = 0, ramp_to = 0;  // open loop: a second; 0 for a trace; ramp_to 0 unless it is a ramp
  std::string arrivals;          // "poisson", "constant", "ramp", "trace", "closed"
  int64_t concurrency = 0;       // closed loop
  double duration = 0, warmup = 0;
  std::string prompts, outputs, positions, documents, document_tokens;
  double shared_prefix = 0, cancel_share = 0, nbce_share = 0;
  int64_t shared_prefix_tokens = 0, document_pool = 0;
  uint64_t seed = 0;
};

// Why the numbers may say more about this client than about the server: sends that were late, a client short of
// processor time, requests that were cut off, nothing measured, a prefix cache that was warm.
std::vector<std::string> Warnings(const RunReport& report);

// Whether every objective was kept; vacuously without any.
bool ObjectivesMet(const RunReport& report);

// What a person reads: a line without its end, and the tables.
std::string ServerText(const v1::GetModelResponse& server);
std::string ReportText(const RunReport& report);

// {"format": "longhaul-bench-1", ...}: client/README.md says what is in it. Times are seconds.
std::string ReportJson(const std::vector<RunReport>& reports, const v1::GetModelResponse& server,
                       const std::vector<std::string>& command);

}  // namespace longhaul::loadgen
