#include "client/loadgen/bench_flags.h"

#include <cmath>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/io/files.h"
#include "client/io/output.h"
#include "client/io/text_input.h"
#include "client/loadgen/bench.h"
#include "client/loadgen/duration.h"
#include "engine/base/command_line/command_line.h"
#include "engine/base/status_macros.h"

namespace longhaul::loadgen {
namespace {

struct Flags {
  BenchOptions options;
  double duration = 60, warmup = 5;
  std::string prompts = "512", outputs = "64", documents = "8", document_tokens = "200", objectives, trace;
  double trace_speed = 1;
};

// The status with the flag's name before its words.
absl::Status Named(const char* flag, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat(flag, ": ", status.message()));
}
#define LH_FLAG(flag, lhs, expr)                           \
  do {                                                     \
    auto parsed = (expr);                                  \
    if (!parsed.ok()) return Named(flag, parsed.status()); \
    lhs = *std::move(parsed);                              \
  } while (false)

absl::Status FillArrivals(const CLI::App& app, Flags& flags) {
  BenchOptions& o = flags.options;
  using Kind = ArrivalOptions::Kind;
  const bool given_trace = !flags.trace.empty();
  const auto given = [&](const char* flag) { return app.count(flag) > 0 ? 1 : 0; };
  const int kinds =
      given("--rate") + given("--concurrency") + given("--sweep") + given("--sweep-concurrency") + given("--trace");
  if (kinds != 1) {
    return absl::InvalidArgumentError(
        "exactly one of --rate, --concurrency, --trace, --sweep and --sweep-concurrency "
        "must say how much load");
  }
  if (app.count("--arrivals") > 0 && app.count("--rate") + app.count("--sweep") == 0) {
    return absl::InvalidArgumentError("--arrivals: only beside --rate or --sweep");
  }
  const bool ramp = o.arrivals_name == "ramp";
  if (ramp != (app.count("--ramp-to") > 0)) {
    return absl::InvalidArgumentError("--ramp-to: the rate at the end, with --arrivals ramp and only there");
  }
  if (given_trace) {
    LH_ASSIGN_OR_RETURN(const std::string lines, ReadText("--trace", flags.trace));
    LH_FLAG("--trace", o.workload.trace, ParseTrace(lines));
    for (TraceEntry& entry : o.workload.trace) {
      entry.at /= flags.trace_speed;
      o.arrivals.times.push_back(entry.at);
    }
    o.arrivals_name = "trace";
  }
  o.arrivals.kind = given_trace                     ? Kind::kTrace
                    : ramp                          ? Kind::kRamp
                    : o.arrivals_name == "constant" ? Kind::kConstant
                                                    : Kind::kPoisson;
  // A trace and a number of requests end by themselves.
  const bool ends = given_trace || o.run.requests > 0;
  o.run.duration = ends && app.count("--duration") == 0 ? INFINITY : flags.duration;
  o.run.warmup = given_trace && app.count("--warmup") == 0 ? 0 : flags.warmup;
  if (ramp && !std::isfinite(o.run.duration)) {
    return absl::InvalidArgumentError("--duration: needed with --arrivals ramp, whose length it is");
  }
  o.arrivals.ramp_seconds = o.run.warmup + o.run.duration;
  return absl::OkStatus();
}

absl::Status FillFiles(const CLI::App& app, BenchOptions& o) {
  const bool sweep = app.count("--sweep") + app.count("--sweep-concurrency") > 0;
  if (!o.plots.empty() && !sweep) return absl::InvalidArgumentError("--plot: draws a --sweep or --sweep-concurrency");
  for (const std::string& plot : o.plots) {
    const std::string extension = std::filesystem::path(plot).extension();
    if (extension != ".svg" && extension != ".png") {
      return absl::InvalidArgumentError(absl::StrCat("--plot: ", plot, " must end with .svg or .png"));
    }
  }
  if (!o.plots.empty() && o.json.empty()) o.json = std::filesystem::path(o.plots[0]).replace_extension(".json");
  return absl::OkStatus();
}

absl::Status Complete(const CLI::App& app, Flags& flags) {
  BenchOptions& o = flags.options;
  const std::string lengths = "lengths:";
  const bool prefixed = flags.prompts.starts_with(lengths);
  LH_FLAG("--prompts", o.workload.prompts,
          Lengths::Parse(prefixed ? flags.prompts.substr(lengths.size()) : flags.prompts));
  LH_FLAG("--output-tokens", o.workload.outputs, Lengths::Parse(flags.outputs));
  LH_FLAG("--documents", o.workload.documents, Lengths::Parse(flags.documents));
  LH_FLAG("--document-tokens", o.workload.document_tokens, Lengths::Parse(flags.document_tokens));
  LH_FLAG("--slo", o.objectives, ParseObjectives(flags.objectives));
  if (!o.positions_text.empty()) {
    LH_FLAG("--positions", o.workload.positions, ParsePositionShares(o.positions_text));
    o.run.by_position = o.workload.positions.size() > 1;
  }
  if ((o.workload.shared_prefix > 0) != (o.workload.shared_prefix_tokens > 0)) {
    return absl::InvalidArgumentError("--shared-prefix and --shared-prefix-tokens need each other");
  }
  // With a fixed default seed the server's prefix cache might still hold the prompts of an earlier run.
  if (app.count("--seed") == 0) o.workload.seed = std::random_device()();
  LH_RETURN_IF_ERROR(FillArrivals(app, flags));
  LH_RETURN_IF_ERROR(FillFiles(app, o));
  o.command = OwnCommandLine();
  return absl::OkStatus();
}

int RunBench(const CLI::App& app, Flags& flags) {
  if (const absl::Status status = Complete(app, flags); !status.ok()) return PrintError(status, /*json=*/false);
  // Outlives everything: the thread that waits for signals never ends.
  static Interrupt& interrupt = *new Interrupt;
  int exit_code = 0;
  const absl::Status status = Bench(flags.options, interrupt, exit_code);
  return status.ok() ? exit_code : PrintError(status, /*json=*/false);
}

// A time with its unit becomes seconds.
CLI::Validator Time(double least) {
  return CLI::Validator(
      [least](std::string& text) -> std::string {
        const absl::StatusOr<double> seconds = ParseDuration(text);
        if (!seconds.ok()) return std::string(seconds.status().message());
        if (*seconds < least) return "it must be at least " + DurationText(least);
        text = absl::StrFormat("%.17g", *seconds);
        return "";
      },
      "TIME");
}

void AddLoad(CLI::App& app, Flags& f) {
  BenchOptions& o = f.options;
  const CLI::Range rate(1e-6, 1e6), streams(int64_t{1}, int64_t{100000});
  app.add_option("--rate", o.arrivals.rate, "open loop: requests a second, sent whatever has been answered")
      ->check(rate);
  o.arrivals_name = "poisson";
  app.add_option(
         "--arrivals", o.arrivals_name,
         "poisson, constant, or ramp: Poisson whose rate goes from --rate to --ramp-to over warm-up and duration")
      ->check(CLI::IsMember({"poisson", "constant", "ramp"}))
      ->capture_default_str();
  app.add_option("--ramp-to", o.arrivals.ramp_to, "requests a second at the end of a ramp")->check(rate);
  app.add_option("--trace", f.trace,
                 "replay a recorded load: JSON Lines with 'at' (seconds) and, each optional, 'prompt_tokens', "
                 "'output_tokens', 'position'; or Mooncake's 'timestamp' (ms), 'input_length', 'output_length', "
                 "'hash_ids'");
  app.add_option("--trace-speed", f.trace_speed, "replay so many times faster")
      ->needs("--trace")
      ->check(rate)
      ->capture_default_str();
  app.add_option("--concurrency", o.run.concurrency,
                 "closed loop: so many requests at any time, each sent when one has ended. It slows down with the "
                 "server: it measures throughput, not what users would wait")
      ->check(streams);
  app.add_option("--sweep", o.sweep, "rates, as in 1,2,4,8: a run of each, one after the other")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(rate);
  app.add_option("--sweep-concurrency", o.sweep_concurrency, "the same for closed loops")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(streams);
  app.add_option("--duration", f.duration,
                 "how long requests are sent after the warm-up; 60s, but to its end with --requests or --trace")
      ->transform(Time(0.001));
  app.add_option("--warmup", f.warmup, "what is sent in this time is not measured; 5s, 0s with --trace")
      ->transform(Time(0));
  app.add_option("--requests", o.run.requests, "measured requests at most")->check(CLI::Range(1, 1 << 30));
  app.add_option("--drain", o.run.drain,
                 "how long requests that run at the end may take; then they are cut off and count as failed; 30s")
      ->transform(Time(0));
  app.add_option("--request-timeout", o.run.timeout, "the deadline of each request; none")->transform(Time(0.001));
}

void AddRequests(CLI::App& app, Flags& f) {
  BenchOptions& o = f.options;
  const CLI::Range share(0.0, 1.0);
  app.add_option("--prompts", f.prompts,
                 "tokens of the prompts: N, lengths:uniform:min=N,max=N, lengths:lognormal:mean=X[,sigma=1][,min=N]"
                 "[,max=N], lengths:file:PATH (numbers, one a line). The prompts are random token ids")
      ->capture_default_str();
  app.add_option("--output-tokens", f.outputs, "tokens of the answers, exactly; as --prompts")->capture_default_str();
  app.add_option("--shared-prefix", o.workload.shared_prefix, "share of the prompts that begin with the same tokens")
      ->check(share);
  app.add_option("--shared-prefix-tokens", o.workload.shared_prefix_tokens,
                 "how many; they are part of the prompt's length")
      ->check(CLI::Range(1, 1 << 30));
  app.add_option("--positions", o.positions_text,
                 "position modes with shares, as in none@0.5,rerope:window=1024@0.5; without '@' all alike");
  app.add_option("--nbce-share", o.workload.nbce_share,
                 "share of the requests that ask over documents, read side by side; the prompt is the question")
      ->check(share);
  app.add_option("--documents", f.documents, "how many documents such a request has; as --prompts")
      ->capture_default_str();
  app.add_option("--document-tokens", f.document_tokens, "tokens of each; as --prompts")->capture_default_str();
  app.add_option("--document-pool", o.workload.document_pool, "they are drawn from so many different ones")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 20));
  app.add_option("--cancel-share", o.workload.cancel_share,
                 "share of the requests that are cancelled, after a random number of tokens")
      ->check(share);
  app.add_option("--seed", o.workload.seed,
                 "of everything random. Not given: drawn and printed. The same seed asks the same prompts, which a "
                 "server's prefix cache may still hold")
      ->check(CLI::Range(uint64_t{0}, uint64_t{1} << 53));
  app.add_option("--connections", o.run.connections, "TCP connections, used in turn")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_option("--client-ids", o.run.client_ids, "names of clients (x-client-id), used in turn; none are sent")
      ->check(CLI::Range(1, 100000));
}

}  // namespace

void AddBench(CLI::App& app, int& exit_code) {
  const auto flags = std::make_shared<Flags>();
  BenchOptions& o = flags->options;
  o.run.target = "127.0.0.1:50051";
  app.add_option("--target", o.run.target, "HOST:PORT of the server")
      ->envname("LONGHAUL_TARGET")
      ->capture_default_str();
  AddLoad(app, *flags);
  AddRequests(app, *flags);
  app.add_option(
      "--slo", flags->objectives,
      "objectives: ttft (time to first token), itl (inter-token latency), tpot (time per output token) or e2e "
      "(end to end) with _p50, _p99.9, _max, and error_rate, as in ttft_p99=500ms,itl_p99=80ms,error_rate=1%");
  app.add_option("--json", o.json, "write everything to a file; with --plot by default the picture's name with .json");
  app.add_option("--plot", o.plots, "a picture of a sweep, .svg or .png (may be given several times)")
      ->type_size(1)
      ->allow_extra_args(false);
  app.add_flag("--quiet", o.quiet, "no live line");
  app.callback([&app, flags, &exit_code] { exit_code = RunBench(app, *flags); });
}

}  // namespace longhaul::loadgen
