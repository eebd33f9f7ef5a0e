#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace longhaul::loadgen {

// A request of a recorded load. What is not given is drawn as without a trace.
struct TraceEntry {
  double at = 0;  // seconds from the trace's first request
  std::optional<int64_t> prompt_tokens, output_tokens;
  std::string position;            // as the flag --position of longhaul; empty: not given
  std::vector<int64_t> block_ids;  // 512 tokens each, equal ids are equal text; empty: nothing is shared
};

// Reads JSON Lines, one request a line:
//   {"at": 1.25, "prompt_tokens": 800, "output_tokens": 64, "position": "rerope"}      seconds
//   {"timestamp": 1250, "input_length": 800, "output_length": 64, "hash_ids": [1, 2]}  milliseconds: Mooncake's traces
// Sorted by time, the first at 0. The error names the line.
absl::StatusOr<std::vector<TraceEntry>> ParseTrace(std::string_view lines);

}  // namespace longhaul::loadgen
