// ReportJson of report.h.

#include <google/protobuf/util/json_util.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "client/loadgen/report.h"

namespace longhaul::loadgen {
namespace {

using Json = nlohmann::ordered_json;

Json Number(double value) {
  return std::isfinite(value) ? Json(value) : Json(nullptr);
}

Json Percentiles(const Histogram& h) {
  Json json = {{"count", h.count()}};
  if (h.count() == 0) return json;
  json["mean"] = h.mean();
  json["min"] = h.min();
  constexpr std::pair<const char*, double> kPercents[] = {{"p50", 50}, {"p90", 90},     {"p95", 95},
                                                          {"p99", 99}, {"p99.9", 99.9}, {"max", 100}};
  for (const auto& [name, percent] : kPercents) json[name] = h.Percentile(percent);
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
  if (r.closed) {
    load["concurrency"] = r.concurrency;
  } else if (r.rate > 0) {
    load["rate"] = r.rate;
  }
  if (r.ramp_to > 0) load["ramp_to"] = r.ramp_to;
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
  if (!r.objectives.empty()) {
    run["goodput"] = {{"requests_per_second", per_second(m.good)}, {"requests", m.good}};
  }
  run["latency"] = Latencies(m);
  run["server_latency"] = {{"first_token", Percentiles(m.server_first_token)},
                           {"queue", Percentiles(m.server_queue)},
                           {"prefill", Percentiles(m.server_prefill)},
                           {"decode", Percentiles(m.server_decode)}};
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
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  std::string model;
  if (!google::protobuf::util::MessageToJsonString(server, &model, options).ok()) model = "{}";
  Json json = {{"format", "longhaul-bench-1"}, {"command", command}, {"server", Json::parse(model, nullptr, false)}};
  json["runs"] = Json::array();
  for (const RunReport& report : reports) json["runs"].push_back(Run(report));
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace longhaul::loadgen
