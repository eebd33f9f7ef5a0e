#include "client/loadgen/bench.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/channel.h"
#include "client/client.h"
#include "client/evaluation/plot.h"
#include "client/io/files.h"
#include "client/io/output.h"
#include "client/loadgen/live_line.h"
#include "client/loadgen/report.h"
#include "engine/base/status_macros.h"
#include "engine/base/terminal.h"

namespace longhaul::loadgen {
namespace {

// The options of each run. Prompts of a run must not be found in the prefix cache by the next one: each has a seed of
// its own.
std::vector<BenchOptions> Runs(const BenchOptions& options) {
  const size_t n = std::max({size_t{1}, options.sweep.size(), options.sweep_concurrency.size()});
  std::vector<BenchOptions> runs(n, options);
  for (size_t i = 0; i < n; ++i) {
    if (!options.sweep.empty()) runs[i].arrivals.rate = options.sweep[i];
    if (!options.sweep_concurrency.empty()) runs[i].run.concurrency = options.sweep_concurrency[i];
    if (i > 0) runs[i].workload.seed = Random(options.workload.seed, Random::Purpose::kRun, i).Next() >> 12;
    runs[i].arrivals.seed = runs[i].workload.seed;
  }
  return runs;
}

RunReport Describe(const BenchOptions& o, RunResult result) {
  const bool closed = o.run.concurrency > 0;
  const bool trace = o.arrivals.kind == ArrivalOptions::Kind::kTrace;
  return {.result = std::move(result),
          .objectives = o.objectives,
          .closed = closed,
          .rate = closed || trace ? 0 : o.arrivals.rate,
          .ramp_to = o.arrivals.kind == ArrivalOptions::Kind::kRamp ? o.arrivals.ramp_to : 0,
          .arrivals = closed ? "closed" : o.arrivals_name,
          .concurrency = o.run.concurrency,
          .duration = o.run.duration,
          .warmup = o.run.warmup,
          .prompts = o.workload.prompts.text(),
          .outputs = o.workload.outputs.text(),
          .positions = o.positions_text,
          .documents = o.workload.documents.text(),
          .document_tokens = o.workload.document_tokens.text(),
          .shared_prefix = o.workload.shared_prefix,
          .cancel_share = o.workload.cancel_share,
          .nbce_share = o.workload.nbce_share,
          .shared_prefix_tokens = o.workload.shared_prefix_tokens,
          .document_pool = o.workload.document_pool,
          .seed = o.workload.seed};
}

RunResult RunOnce(const BenchOptions& o, Interrupt& interrupt) {
  LoadRun run(o.run, Workload(o.workload), o.arrivals, o.objectives);
  interrupt.SetAction([&run] { run.Stop(); });
  RunResult result = [&] {
    const LiveLine line(run, o.run.warmup + o.run.duration, o.quiet);
    return run.Run();
  }();
  interrupt.SetAction({});
  return result;
}

// Waits until the server is idle: requests of the last run must not slow the next one down.
void WaitUntilIdle(Client& client, const Interrupt& interrupt) {
  constexpr int kTries = 300;
  for (int i = 0; i < kTries && !interrupt.requested(); ++i) {
    const auto model = client.Model({.timeout_seconds = 5, .request_id = ""});
    if (!model.ok() || model->running() + model->waiting() == 0) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

// The exit code of the commonest error.
int ErrorExitCode(const Measurement& m) {
  const auto commonest = std::max_element(m.errors.begin(), m.errors.end(),
                                          [](const auto& a, const auto& b) { return a.second < b.second; });
  for (int code = 1; code <= 16; ++code) {
    const auto status = static_cast<absl::StatusCode>(code);
    if (absl::StatusCodeToString(status) == commonest->first) return ExitCode(absl::Status(status, ""));
  }
  return 1;
}

int ExitCodeOf(const std::vector<RunReport>& reports) {
  int code = 0;
  for (const RunReport& report : reports) {
    const Measurement& m = report.result.total;
    if (m.requests > 0 && m.failed == m.requests) return ErrorExitCode(m);
    if (!ObjectivesMet(report)) code = kObjectiveMissed;
  }
  return code;
}

}  // namespace

absl::Status Bench(const BenchOptions& options, Interrupt& interrupt, int& exit_code) {
  Client client(options.run.target);
  LH_ASSIGN_OR_RETURN(const v1::GetModelResponse server, client.Model({.timeout_seconds = 10, .request_id = ""}));
  BenchOptions with_server = options;
  LH_ASSIGN_OR_RETURN(with_server.run.target, NormalTarget(options.run.target));
  with_server.workload.vocabulary = std::max(int64_t{1}, static_cast<int64_t>(server.vocabulary_size()));
  with_server.workload.end_tokens.assign(server.end_tokens().begin(), server.end_tokens().end());
  absl::PrintF("%s\n", ForTerminal(stdout, ServerText(server)));

  std::vector<RunReport> reports;
  for (const BenchOptions& run : Runs(with_server)) {
    if (!reports.empty()) WaitUntilIdle(client, interrupt);
    if (interrupt.requested()) break;
    reports.push_back(Describe(run, RunOnce(run, interrupt)));
    absl::PrintF("%s%s", reports.size() > 1 ? "\n" : "", TextForTerminal(stdout, ReportText(reports.back())));
    std::fflush(stdout);
    if (options.json.empty()) continue;
    LH_RETURN_IF_ERROR(WriteFile("--json", options.json, ReportJson(reports, server, options.command)));
  }
  exit_code = ExitCodeOf(reports);
  if (interrupt.requested()) return absl::CancelledError("stopped; what stands above was measured until then");
  if (options.plots.empty()) return absl::OkStatus();
  return Plot("sweep", options.json, options.plots);
}

}  // namespace longhaul::loadgen
