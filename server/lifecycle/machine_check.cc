#include "server/lifecycle/machine_check.h"

#include <pthread.h>

#include <algorithm>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/base/memory_limit.h"

namespace longhaul {
namespace {

std::string Size(int64_t bytes) {
  constexpr double kMiB = 1 << 20, kGiB = 1 << 30;
  const auto exact = static_cast<double>(bytes);
  return exact < kGiB ? absl::StrFormat("%.1f MiB", exact / kMiB) : absl::StrFormat("%.2f GiB", exact / kGiB);
}

}  // namespace

Machine ThisMachine() {
  pthread_attr_t attributes;
  size_t stack = 0;
  if (pthread_getattr_default_np(&attributes) == 0) {
    pthread_attr_getstacksize(&attributes, &stack);
    pthread_attr_destroy(&attributes);
  }
  return {.memory = MemoryLimit(),
          .available = AvailableMemory(),
          .cores = std::max(1, static_cast<int>(std::thread::hardware_concurrency())),
          .address_space = AddressSpaceLeft(),
          .stack = static_cast<int64_t>(stack)};
}

absl::StatusOr<std::vector<std::string>> CheckMachine(const MachineUse& use, const Machine& machine) {
  if (use.cache_bytes > machine.memory) {
    return absl::ResourceExhaustedError(absl::StrCat("--kv-cache-memory: ", Size(use.cache_bytes), " (",
                                                     use.cache_bytes, " bytes) are more than the ",
                                                     Size(machine.memory), " of memory of this machine or container"));
  }
  // The server's and its libraries', beside those that compute; what they take beside their stacks.
  constexpr int64_t kThreads = 24, kProgram = 64 << 20;
  const int threads = use.threads > 0 ? use.threads : machine.cores;
  if (const int64_t program = kProgram + (kThreads + threads) * machine.stack;
      machine.address_space.has_value() && program + use.cache_bytes > *machine.address_space) {
    return absl::ResourceExhaustedError(absl::StrCat("the address space that is left (ulimit -v), ",
                                                     Size(*machine.address_space), ", is too small for the KV cache (",
                                                     Size(use.cache_bytes), ", --kv-cache-memory) and the ",
                                                     Size(program), " that the program takes without a model"));
  }
  std::vector<std::string> warnings;
  const int64_t needed = use.model_bytes + use.cache_bytes;
  const std::string parts =
      absl::StrCat("the model's file (", Size(use.model_bytes), ") and the KV cache (", Size(use.cache_bytes), ")");
  if (needed > machine.memory) {
    warnings.push_back(absl::StrCat(parts, " are more than the ", Size(machine.memory),
                                    " of memory of this machine or container; see --kv-cache-memory"));
  } else if (needed > machine.available) {
    warnings.push_back(absl::StrCat(parts, " are more than the ", Size(machine.available),
                                    " of memory that are free now, of ", Size(machine.memory),
                                    "; see --kv-cache-memory"));
  } else if (needed + use.message_bytes > machine.memory) {
    warnings.push_back(absl::StrCat(parts, " leave less of the ", Size(machine.memory), " of memory than the ",
                                    Size(use.message_bytes),
                                    " that messages of waiting requests may fill, eight times --max-message-size"));
  }
  if (use.threads > machine.cores) {
    warnings.push_back(absl::StrCat("--threads: ", use.threads, " are more than the ", machine.cores,
                                    machine.cores == 1 ? " core" : " cores", " that this process may use, and slower"));
  }
  return warnings;
}

}  // namespace longhaul
