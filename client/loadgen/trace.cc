#include "client/loadgen/trace.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "proto/position_text.h"

namespace longhaul::loadgen {
namespace {

using Json = nlohmann::json;

// Tokens under the first of the names that the request has.
absl::Status ReadTokens(const Json& request, const char* name, const char* other, std::optional<int64_t>& tokens) {
  const char* const key = request.contains(name) ? name : other;
  if (!request.contains(key)) return absl::OkStatus();
  const Json& value = request[key];
  if (!value.is_number_integer() || value < 1 || value > (int64_t{1} << 30)) {
    return absl::InvalidArgumentError(absl::StrCat(key, " must be a number of tokens, at least 1"));
  }
  tokens = value.get<int64_t>();
  return absl::OkStatus();
}

absl::StatusOr<TraceEntry> ParseEntry(const std::string& line) {
  const Json request = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!request.is_object()) return absl::InvalidArgumentError("it is no JSON object");
  TraceEntry entry;
  const bool in_seconds = request.contains("at");
  const Json time = request.value(in_seconds ? "at" : "timestamp", Json());
  if (!time.is_number() || !std::isfinite(time.get<double>())) {
    return absl::InvalidArgumentError("it needs 'at' (seconds) or 'timestamp' (milliseconds)");
  }
  entry.at = time.get<double>() / (in_seconds ? 1 : 1000);
  LH_RETURN_IF_ERROR(ReadTokens(request, "prompt_tokens", "input_length", entry.prompt_tokens));
  LH_RETURN_IF_ERROR(ReadTokens(request, "output_tokens", "output_length", entry.output_tokens));
  if (request.contains("position")) {
    if (!request["position"].is_string()) return absl::InvalidArgumentError("position must be a text");
    entry.position = request["position"].get<std::string>();
    LH_RETURN_IF_ERROR(ParsePosition(entry.position).status());
  }
  if (request.contains("hash_ids")) {
    const Json& ids = request["hash_ids"];
    if (!ids.is_array() ||
        !std::all_of(ids.begin(), ids.end(), [](const Json& id) { return id.is_number_integer(); })) {
      return absl::InvalidArgumentError("hash_ids must be whole numbers");
    }
    entry.block_ids = ids.get<std::vector<int64_t>>();
  }
  return entry;
}

}  // namespace

absl::StatusOr<std::vector<TraceEntry>> ParseTrace(std::string_view lines) {
  std::vector<TraceEntry> trace;
  std::istringstream stream{std::string(lines)};
  int64_t number = 0;
  for (std::string line; std::getline(stream, line);) {
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    absl::StatusOr<TraceEntry> entry = ParseEntry(line);
    if (!entry.ok()) return absl::InvalidArgumentError(absl::StrCat("line ", number, ": ", entry.status().message()));
    trace.push_back(*std::move(entry));
  }
  if (trace.empty()) return absl::InvalidArgumentError("there is no request in it");
  std::stable_sort(trace.begin(), trace.end(), [](const auto& a, const auto& b) { return a.at < b.at; });
  const double first = trace.front().at;
  for (TraceEntry& entry : trace) entry.at -= first;
  return trace;
}

}  // namespace longhaul::loadgen
