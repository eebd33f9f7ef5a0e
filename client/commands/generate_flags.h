#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "client/commands/command_flags.h"
#include "longhaul/v1/inference.pb.h"

namespace CLI {
class App;
}

// The flags of every subcommand that makes answers.
namespace longhaul {

struct GenerateFlags {
  PromptFlags prompt;
  std::string position;
  float temperature = 0, top_p = 1, min_p = 0, repetition_penalty = 1, presence_penalty = 0, frequency_penalty = 0;
  uint32_t top_k = 0, max_tokens = 256, min_tokens = 0, top_logprobs = 0, samples = 1;
  uint64_t seed = 0, first_sample = 0;
  int32_t priority = 0;
  std::vector<std::string> stop, logit_bias;
  std::vector<int32_t> stop_token_ids;
  bool ignore_eos = false, token_ids = false, quiet = false;
  std::string system;
};

void AddGenerateFlags(CLI::App& command, GenerateFlags& f);

// --system.
void AddSystem(CLI::App& command, std::string& system);

// All of a request but its prompt. INVALID_ARGUMENT names the flag. REQUIRES: the command line was parsed.
absl::Status FillRequest(const CLI::App& command, const GenerateFlags& f, v1::GenerateRequest& request);

}  // namespace longhaul
