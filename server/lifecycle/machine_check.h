#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace longhaul {

// What a machine or container has.
struct Machine {
  int64_t memory = 0, available = 0;          // bytes; of `memory` those that are free now
  int cores = 0;                              // that this process may use
  std::optional<int64_t> address_space = {};  // bytes that are left of it, where it is limited
  int64_t stack = int64_t{8} << 20;           // bytes of it that a thread takes
};

// The one that this process runs on.
Machine ThisMachine();

// What the flags ask for.
struct MachineUse {
  int64_t model_bytes = 0;    // of the file
  int64_t cache_bytes = 0;    // --kv-cache-memory
  int64_t message_bytes = 0;  // that messages of waiting requests may fill
  int threads = 0;            // --threads; 0: as many as there are cores
};

// RESOURCE_EXHAUSTED, with the numbers, when the KV cache is larger than all the memory, or the address space is too
// small for the cache and the program without a model (libraries that cannot start a thread abort the process). Else a
// warning for each thing that will be slow or may end the process. The size of the model's file alone is no reason to
// refuse: float weights may be packed to half.
absl::StatusOr<std::vector<std::string>> CheckMachine(const MachineUse& use, const Machine& machine);

}  // namespace longhaul
