#include "client/loadgen/report.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/loadgen/duration.h"

namespace longhaul::loadgen {
namespace {

constexpr double kLate = 0.010;  // seconds; p99 of the sends
constexpr double kBusy = 0.8;    // of this machine's cores

double PerSecond(int64_t n, double seconds) {
  return seconds > 0 ? static_cast<double>(n) / seconds : 0;
}
double Percent(int64_t part, int64_t whole) {
  return whole > 0 ? 100 * static_cast<double>(part) / static_cast<double>(whole) : 0;
}

std::string LoadText(const RunReport& r) {
  std::string text;
  if (r.closed) {
    text = absl::StrCat(r.concurrency, " requests at any time");
  } else if (r.arrivals == "trace") {
    text = "a trace";
  } else if (r.arrivals == "ramp") {
    text = absl::StrCat("from ", r.rate, " to ", r.ramp_to, " requests/s");
  } else {
    text = absl::StrCat(r.rate, " requests/s, ", r.arrivals);
  }
  absl::StrAppend(&text, "; prompts ", r.prompts, ", answers ", r.outputs, " tokens");
  if (r.shared_prefix > 0) {
    absl::StrAppend(&text, "; ", 100 * r.shared_prefix, " % begin with the same ", r.shared_prefix_tokens, " tokens");
  }
  if (!r.positions.empty()) absl::StrAppend(&text, "; positions ", r.positions);
  if (r.nbce_share > 0) {
    absl::StrAppend(&text, "; ", 100 * r.nbce_share, " % ask over ", r.documents, " documents of ", r.document_tokens,
                    " tokens, of ", r.document_pool);
  }
  if (r.cancel_share > 0) absl::StrAppend(&text, "; ", 100 * r.cancel_share, " % are cancelled");
  return absl::StrCat(text, "; seed ", r.seed);
}

std::string Row(const std::string& name, const Histogram& h) {
  if (h.count() == 0) return "";
  std::string row = absl::StrFormat("%-26s", name);
  for (const double percent : {50.0, 90.0, 95.0, 99.0}) {
    absl::StrAppendFormat(&row, "%10s", DurationText(h.Percentile(percent)));
  }
  return absl::StrCat(row, absl::StrFormat("%10s", DurationText(h.max())), "\n");
}

std::string Bound(const Objective& o, double value) {
  if (o.metric != Objective::Metric::kErrorRate) return DurationText(value);
  return std::isfinite(value) ? absl::StrFormat("%.3g %%", 100 * value) : "-";
}

}  // namespace

std::vector<std::string> Warnings(const RunReport& report) {
  const Measurement& m = report.result.total;
  std::vector<std::string> warnings;
  const auto warn = [&](const auto&... words) { warnings.push_back(absl::StrCat(words...)); };
  if (m.requests == 0) warn("nothing was measured: the warm-up (--warmup) took the whole run");
  if (const double late = m.lateness.Percentile(99); late > kLate) {
    warn("this client could not keep the rate: 1 % of the requests were sent more than ", DurationText(late),
         " late (it counts into their latencies); lower the rate, or give the client a machine of its own");
  }
  const double cores = report.result.wall_seconds > 0 ? report.result.cpu_seconds / report.result.wall_seconds : 0;
  if (cores > kBusy * report.result.cores) {
    warn(
        absl::StrFormat("this client used %.1f of the %d processor cores that it may use: latencies are partly its own",
                        cores, report.result.cores));
  }
  if (const auto unfinished = m.errors.find("unfinished"); unfinished != m.errors.end()) {
    warn(
        unfinished->second,
        " requests had not ended when the run did (--drain): they count as failed, and their time is in no end to end");
  }
  if (m.wrong_length > 0) warn(m.wrong_length, " answers did not have as many tokens as were asked for");
  if (report.result.stopped) warn("stopped before its end");
  return warnings;
}

bool ObjectivesMet(const RunReport& report) {
  return std::all_of(report.objectives.begin(), report.objectives.end(),
                     [&](const Objective& o) { return report.result.total.Value(o) <= o.bound; });
}

std::string ServerText(const v1::GetModelResponse& m) {
  return absl::StrCat("server      longhaul ", m.version(), ": ", m.name(), " (", m.file_type(), "), ", m.backend(),
                      " ", m.instruction_set(), ", ", m.threads(), " threads; products ", m.compute_type(),
                      ", KV cache ", m.kv_cache_type(), ", ", m.cache_tokens(), " tokens");
}

std::string ReportText(const RunReport& report) {
  const Measurement& m = report.result.total;
  const double seconds = m.seconds();
  std::string text = absl::StrCat("load        ", LoadText(report), "\n");
  absl::StrAppendFormat(
      &text, "requests    %d measured in %s after %s of warm-up: %d answered, %d cancelled, %d failed\n", m.requests,
      DurationText(seconds), DurationText(report.warmup), m.answered, m.cancelled, m.failed);
  for (const auto& [code, n] : m.errors) {
    absl::StrAppend(&text, "            ", n, " ", code);
    if (const std::string& words = m.messages.at(code); !words.empty()) absl::StrAppend(&text, ": ", words);
    absl::StrAppend(&text, "\n");
  }
  absl::StrAppendFormat(
      &text, "throughput  %.2f requests/s, %.1f tokens/s; prompts %.1f tokens/s, %.1f %% of them from the cache\n",
      PerSecond(m.answers_in_window, seconds), PerSecond(m.tokens_in_window, seconds),
      PerSecond(m.prompt_tokens, seconds), Percent(m.cached_tokens, m.prompt_tokens));
  if (!report.objectives.empty()) {
    absl::StrAppendFormat(&text, "goodput     %.2f requests/s (%.1f %%) within the objectives\n",
                          PerSecond(m.good, seconds), Percent(m.good, m.requests));
  }
  absl::StrAppendFormat(
      &text, "client      %.0f %% of one core; sends late by %s (p99), %s (max)\n\n",
      report.result.wall_seconds > 0 ? 100 * report.result.cpu_seconds / report.result.wall_seconds : 0,
      DurationText(m.lateness.Percentile(99)), DurationText(m.lateness.max()));
  absl::StrAppendFormat(&text, "%-26s%10s%10s%10s%10s%10s\n", "", "p50", "p90", "p95", "p99", "max");
  absl::StrAppend(&text, Row("time to first token", m.time_to_first_token),
                  Row("inter-token latency", m.inter_token_latency), Row("end to end", m.end_to_end),
                  Row("server: first token", m.server_first_token), Row("server: queue", m.server_queue),
                  Row("server: prefill", m.server_prefill), Row("server: decode", m.server_decode));
  for (const auto& [position, part] : report.result.by_position) {
    const std::string name = position.empty() ? "(none named)" : position;
    absl::StrAppend(&text, name, ": ", part.requests, " requests, ", part.failed, " failed\n",
                    Row("  time to first token", part.time_to_first_token),
                    Row("  inter-token latency", part.inter_token_latency), Row("  end to end", part.end_to_end));
  }
  if (!report.objectives.empty()) absl::StrAppend(&text, "\n");
  for (const Objective& o : report.objectives) {
    const double value = m.Value(o);
    absl::StrAppend(&text, value <= o.bound ? "kept        " : "MISSED      ", o.name, " ", Bound(o, value), " of ",
                    Bound(o, o.bound), "\n");
  }
  for (const std::string& warning : Warnings(report)) absl::StrAppend(&text, "warning: ", warning, "\n");
  return text;
}

}  // namespace longhaul::loadgen
