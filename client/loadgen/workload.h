#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "client/loadgen/lengths.h"
#include "client/loadgen/position_share.h"
#include "client/loadgen/trace.h"
#include "longhaul/v1/inference.pb.h"

namespace longhaul::loadgen {

struct WorkloadOptions {
  Lengths prompts, outputs;
  double shared_prefix = 0;              // share of the requests whose prompts begin with the same tokens
  int64_t shared_prefix_tokens = 0;      // so many, or all but the last of a prompt that is no longer
  double cancel_share = 0;               // share of the requests that are cancelled, after 1 token to all of them
  std::vector<PositionShare> positions;  // empty: requests name no mode
  double nbce_share = 0;                 // share of the requests that ask over documents; the prompt is the question
  Lengths documents, document_tokens;    // their number, and the tokens of each
  int64_t document_pool = 64;            // they are drawn from so many, each of which keeps its tokens
  std::vector<TraceEntry> trace;         // request i is like entry i; empty: none
  int64_t vocabulary = 1;                // token ids are 0 to vocabulary - 1 ...
  std::vector<int32_t> end_tokens;       // ... but not these, where others are left
  uint64_t seed = 0;
};

struct PlannedRequest {
  v1::GenerateRequest request;
  int64_t prompt_tokens = 0, output_tokens = 0;
  int64_t documents = 0;
  std::optional<int64_t> cancel_after;  // tokens
  std::string position;                 // as the flag, empty where none is named
};

// What is asked. Request `number` is a function of (options, number) alone. Thread-safe.
class Workload {
 public:
  explicit Workload(WorkloadOptions options) : options_(std::move(options)) {}

  // Prompt and answer have exactly as many tokens as planned: the prompt is given as ids, the answer ignores
  // end-of-sequence tokens. Greedy.
  PlannedRequest Make(uint64_t number) const;

  const WorkloadOptions& options() const { return options_; }

 private:
  void FillDocuments(uint64_t number, PlannedRequest& planned) const;
  void FillPrompt(uint64_t number, const TraceEntry* entry, int64_t tokens, v1::TokenIds& ids) const;

  const WorkloadOptions options_;
};

}  // namespace longhaul::loadgen
