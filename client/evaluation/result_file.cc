#include "client/evaluation/result_file.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/evaluation/spans.h"
#include "client/evaluation/summary.h"
#include "client/io/files.h"
#include "engine/base/status_macros.h"

namespace longhaul {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kFormat[] = "longhaul-evaluation-1";

std::string Dump(const Json& json, int indent = -1) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

// 6 digits after the point: more would be noise.
double Rounded(double x) {
  return std::round(x * 1e6) / 1e6;
}

Json IdentityJson(const Identity& i) {
  Json json = {{"task", i.task},
               {"engine_fingerprint", i.engine_fingerprint},
               {"text_sha256", i.text_sha256},
               {"text_tokens", i.text_tokens},
               {"trained_length", i.trained_length}};
  if (i.score_tokens > 0) json["score_tokens"] = i.score_tokens;
  if (i.period > 0) json["period"] = i.period;
  if (i.task == "passkey" || i.task == "documents") json["seed"] = i.seed;
  return json;
}

Json ModelJson(const RunInfo& r) {
  return {{"name", r.model},
          {"file_type", r.file_type},
          {"compute_type", r.compute_type},
          {"kv_cache_type", r.kv_cache_type},
          {"backend", r.backend},
          {"instruction_set", r.instruction_set},
          {"server_version", r.server_version}};
}

Json RunJson(const RunInfo& r) {
  return {{"command", r.command},
          {"target", r.target.empty() ? Json() : Json(r.target)},
          {"server_flags", r.server_flags},
          {"threads", r.threads},
          {"version", r.version}};
}

Json SampleJson(const Identity& identity, const Repetition& sample) {
  if (identity.task == "passkey") return {{"depth", sample.depth}, {"trial", sample.trial}};
  if (identity.task == "documents") return {{"question", sample.trial}};
  return {{"span_end", sample.span_end}};
}

Json MeasurementJson(const Identity& identity, const Measurement& m) {
  Json json = {{"position", m.position}, {"length", m.length}};
  json.update(SampleJson(identity, m.sample));
  json.update(Json{{"resolved", m.resolved},
                   {"reach", m.reach},
                   {"past_recommended", m.past_recommended},
                   {"refit", m.refit},
                   {"seconds", m.seconds},
                   {"value", m.value}});
  if (m.first_copy.has_value()) json["first_copy"] = *m.first_copy;
  if (identity.task == "documents") json["tokens"] = m.tokens;
  if (m.cited.has_value()) json["cited"] = *m.cited;
  if (!m.key.empty()) json.update(Json{{"key", m.key}, {"answer", m.answer}});
  if (!m.hits.empty()) json["hits"] = m.hits;
  if (!m.losses.empty()) json["losses"] = m.losses;
  return json;
}

Measurement MeasurementOf(const Json& json) {
  Measurement m;
  json.at("position").get_to(m.position);
  json.at("length").get_to(m.length);
  m.sample = {.span_end = json.value("span_end", int64_t{0}),
              .depth = json.value("depth", int64_t{0}),
              .trial = json.value("trial", json.value("question", int64_t{0}))};
  json.at("resolved").get_to(m.resolved);
  json.at("reach").get_to(m.reach);
  json.at("past_recommended").get_to(m.past_recommended);
  json.at("refit").get_to(m.refit);
  json.at("seconds").get_to(m.seconds);
  json.at("value").get_to(m.value);
  if (json.contains("first_copy")) m.first_copy = json.at("first_copy").get<double>();
  if (json.contains("cited")) m.cited = json.at("cited").get<double>();
  m.tokens = json.value("tokens", int64_t{0});
  m.key = json.value("key", "");
  m.answer = json.value("answer", "");
  m.hits = json.value("hits", "");
  if (json.contains("losses")) json.at("losses").get_to(m.losses);
  return m;
}

Json CellJson(const Identity& identity, const Cell& c) {
  const auto error_of = [](const Estimate& e) {
    return e.standard_error.has_value() ? Json(Rounded(*e.standard_error)) : Json();
  };
  Json json = {{"position", c.position}, {"resolved", c.resolved}, {"length", c.length}};
  if (identity.task == "passkey") json["depth"] = c.depth;
  json.update(Json{{"n", c.value.n}, {"mean", Rounded(c.value.mean)}, {"standard_error", error_of(c.value)}});
  if (c.difference.has_value()) {
    json.update(Json{{"difference_n", c.difference->n},
                     {"difference", Rounded(c.difference->mean)},
                     {"difference_standard_error", error_of(*c.difference)}});
  }
  if (c.first_copy.has_value()) json["first_copy"] = Rounded(*c.first_copy);
  if (c.cited.has_value()) json["cited"] = Rounded(*c.cited);
  json.update(Json{
      {"reach", c.reach}, {"past_recommended", c.past_recommended}, {"seconds", std::round(c.seconds * 1e3) / 1e3}});
  return json;
}

// "key": [ one element a line ]
template <typename Elements, typename ToJson>
std::string Lines(const char* key, const Elements& elements, ToJson to_json) {
  std::vector<std::string> lines;
  for (const auto& element : elements) lines.push_back("    " + Dump(to_json(element)));
  return absl::StrCat("  \"", key, "\": [", lines.empty() ? "" : "\n", absl::StrJoin(lines, ",\n"),
                      lines.empty() ? "]" : "\n  ]");
}

}  // namespace

absl::StatusOr<ResultFile> ResultFile::Open(const std::string& path, const Identity& identity, const RunInfo& run,
                                            const std::vector<int64_t>& spans) {
  ResultFile file;
  file.path_ = path;
  file.identity_ = identity;
  file.spans_ = spans;
  file.model_ = Dump(ModelJson(run));
  file.text_ = Dump({{"path", run.text_path}, {"bytes", run.text_bytes}});
  file.runs_ = Dump(Json::array({RunJson(run)}));
  if (std::filesystem::exists(path)) {
    LH_ASSIGN_OR_RETURN(const std::string text, ReadFile("--output", path));
    LH_RETURN_IF_ERROR(file.Read(text, run));
  }
  LH_RETURN_IF_ERROR(file.Write());
  return file;
}

absl::Status ResultFile::Read(const std::string& text, const RunInfo& run) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("format") || json.at("format") != kFormat) {
    return absl::FailedPreconditionError(
        absl::StrCat("--output: ", path_, " is there and holds no evaluation (", kFormat, "); give another file"));
  }
  try {
    const Json ours = IdentityJson(identity_);
    const Json& theirs = json.at("identity");
    for (const auto& [key, value] : ours.items()) {
      const Json there = theirs.contains(key) ? theirs.at(key) : Json();
      if (there != value) {
        return absl::FailedPreconditionError(absl::StrCat("--output: ", path_, " holds results of another ", key, ": ",
                                                          Dump(there), " there, ", Dump(value),
                                                          " here; give another file"));
      }
    }
    auto spans = json.at("spans").get<std::vector<int64_t>>();
    if (!Nested(spans, spans_)) {
      return absl::FailedPreconditionError(absl::StrCat("--spans: ", path_, " holds ", spans.size(),
                                                        " spans, this run has ", spans_.size(),
                                                        ": one number must be a multiple of the other, so that spans "
                                                        "are shared; give such a number or another file"));
    }
    if (spans.size() > spans_.size()) spans_ = std::move(spans);
    for (const Json& cell : json.at("cells")) measurements_.push_back(MeasurementOf(cell));
    for (const Json& refused : json.at("refused")) {
      refused_.push_back({refused.at("position"), refused.at("length"), refused.at("message")});
    }
    Json runs = json.at("runs");
    if (const Json now = RunJson(run); std::find(runs.begin(), runs.end(), now) == runs.end()) runs.push_back(now);
    runs_ = Dump(runs);
  } catch (const Json::exception& error) {
    return absl::FailedPreconditionError(
        absl::StrCat("--output: ", path_, " is damaged: ", error.what(), "; give another file"));
  }
  return absl::OkStatus();
}

bool ResultFile::Has(const std::string& position, int64_t length, const Repetition& sample) const {
  return std::any_of(measurements_.begin(), measurements_.end(), [&](const Measurement& m) {
    return m.position == position && m.length == length && m.sample == sample;
  });
}

absl::Status ResultFile::Add(Measurement done) {
  for (const Measurement& m : measurements_) {
    if (identity_.task == "documents" || m.position != done.position || m.length != done.length) continue;
    if (m.resolved != done.resolved || m.reach != done.reach) {
      return absl::FailedPreconditionError(absl::StrCat("--output: ", path_, " holds ", m.position, " at ", m.length,
                                                        " tokens as ", m.resolved, ", now the server takes it as ",
                                                        done.resolved, "; give another file"));
    }
  }
  std::erase_if(refused_, [&](const Refused& r) { return r.position == done.position && r.length == done.length; });
  measurements_.push_back(std::move(done));
  return Write();
}

void ResultFile::Refuse(Refused refused) {
  std::erase_if(refused_,
                [&](const Refused& r) { return r.position == refused.position && r.length == refused.length; });
  refused_.push_back(std::move(refused));
}

absl::Status ResultFile::Write() const {
  std::string text =
      absl::StrCat("{\n  \"format\": \"", kFormat, "\",\n  \"identity\": ", Dump(IdentityJson(identity_)),
                   ",\n  \"model\": ", model_, ",\n  \"text\": ", text_, ",\n");
  absl::StrAppend(&text, "  \"spans\": ", Dump(spans_), ",\n  \"runs\": ", runs_, ",\n");
  absl::StrAppend(&text,
                  Lines("summary", Summarize(measurements_, identity_.control_length()),
                        [&](const Cell& cell) { return CellJson(identity_, cell); }),
                  ",\n");
  absl::StrAppend(&text, Lines("refused", refused_, [](const Refused& r) {
    return Json{{"position", r.position}, {"length", r.length}, {"message", r.message}};
  }));
  absl::StrAppend(&text, ",\n",
                  Lines("cells", measurements_, [&](const Measurement& m) { return MeasurementJson(identity_, m); }),
                  "\n}\n");
  return WriteFile("--output", path_, text);
}

}  // namespace longhaul
