// ReportJson of report.h.

#include <cmath>
#include <nlohmann/json.hpp>

#include "client/io/message_json.h"
#include "client/loadgen/report.h"

namespace longhaul::loadgen {
namespace {

using Json = nlohmann::ordered_json;

Json Number(double value) {
  return std::isfinite(value) ? Json(value) : Json(nullptr);
}

// Where there is none, null.
Json Given(bool given, const Json& value) {
  return given ? value : Json(nullptr);
}

Json Percentiles(const Histogram& h) {
  const bool any = h.count() > 0;
  Json json = {{"count", h.count()}, {"mean", Given(any, h.mean())}, {"min", Given(any, h.min())}};
  constexpr std::pair<const char*, double> kPercents[] = {{"p50", 50}, {"p90", 90},     {"p95", 95},
                                                          {"p99", 99}, {"p99.9", 99.9}, {"max", 100}};
  for (const auto& [name, percent] : kPercents) json[name] = Given(any, h.Percentile(percent));
  json["buckets_ns"] = h.Buckets();
  return json;
}

Json Latencies(const Measurement& m) {
  return {{"time_to_first_token", Percentiles(m.time_to_first_token)},
          {"inter_token_latency", Percentiles(m.inter_token_latency)},
          {"chunk_gap", Percentiles(m.chunk_gap)},
          {"time_per_output_token", Percentiles(m.time_per_output_token)},
          {"end_to_end", Percentiles(m.end_to_end)}};
}

Json Requests(const Measurement& m) {
  return {{"measured", m.requests},         {"answered", m.answered}, {"cancelled", m.cancelled}, {"failed", m.failed},
          {"wrong_length", m.wrong_length}, {"errors", m.errors},     {"messages", m.messages}};
}

Json Load(const RunReport& r) {
  Json load = {{"arrivals", r.arrivals}};
  load["concurrency"] = Given(r.closed, r.concurrency);
  load["rate"] = Given(!r.closed && r.rate > 0, r.rate);
  load["ramp_to"] = Given(r.ramp_to > 0, r.ramp_to);
  load["duration"] = Number(r.duration);
  load["warmup"] = r.warmup;
  load["prompts"] = r.prompts;
  load["output_tokens"] = r.outputs;
  load["shared_prefix"] = r.shared_prefix;
  load["shared_prefix_tokens"] = r.shared_prefix_tokens;
  load["positions"] = r.positions;
  load["nbce_share"] = r.nbce_share;
  load["documents"] = r.documents;
  load["document_tokens"] = r.document_tokens;
  load["document_pool"] = r.document_pool;
  load["cancel_share"] = r.cancel_share;
  load["seed"] = r.seed;
  return load;
}

Json Run(const RunReport& r) {
  const Measurement& m = r.result.total;
  const double seconds = m.seconds();
  const auto per_second = [&](int64_t n) { return seconds > 0 ? static_cast<double>(n) / seconds : 0; };
  Json run;
  run["load"] = Load(r);
  run["seconds"] = seconds;
  run["requests"] = Requests(m);
  run["throughput"] = {{"requests_per_second", per_second(m.answers_in_window)},
                       {"tokens_per_second", per_second(m.tokens_in_window)},
                       {"prompt_tokens_per_second", per_second(m.prompt_tokens)},
                       {"prompt_tokens", m.prompt_tokens},
                       {"cached_tokens", m.cached_tokens}};
  run["goodput"] = Given(!r.objectives.empty(), {{"requests_per_second", per_second(m.good)}, {"requests", m.good}});
  run["latency"] = Latencies(m);
  run["server_latency"] = {{"first_token", Percentiles(m.server_first_token)},
                           {"queue", Percentiles(m.server_queue)},
                           {"prefill", Percentiles(m.server_prefill)},
                           {"decode", Percentiles(m.server_decode)}};
  run["by_position"] = Json::object();
  for (const auto& [position, part] : r.result.by_position) {
    run["by_position"][position] = {{"requests", Requests(part)}, {"latency", Latencies(part)}};
  }
  run["client"] = {{"lateness", Percentiles(m.lateness)},
                   {"cpu_seconds", r.result.cpu_seconds},
                   {"wall_seconds", r.result.wall_seconds},
                   {"cores", r.result.cores},
                   {"warnings", Warnings(r)}};
  Json objectives = Json::array();
  for (const Objective& o : r.objectives) {
    const double value = m.Value(o);
    objectives.push_back({{"name", o.name}, {"bound", o.bound}, {"value", Number(value)}, {"kept", value <= o.bound}});
  }
  run["objectives"] = objectives;
  return run;
}

}  // namespace

std::string ReportJson(const std::vector<RunReport>& reports, const v1::GetModelResponse& server,
                       const std::vector<std::string>& command) {
  Json json = {{"format", "longhaul-bench-1"}, {"command", command}, {"server", MessageJson(server)}};
  json["runs"] = Json::array();
  for (const RunReport& report : reports) json["runs"].push_back(Run(report));
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace longhaul::loadgen
