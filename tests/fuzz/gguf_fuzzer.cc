// A libFuzzer target (clang, -DLONGHAUL_BUILD_FUZZERS=ON). Give it a folder: gguf_fuzzer CORPUS. An empty one is fine:
// most of what it tries are mutants of the smallest model.
#include <algorithm>
#include <cstring>
#include <vector>

#include "tests/fuzz/model_bytes.h"
#include "tests/support/gguf_writer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  longhaul::TryModelBytes({reinterpret_cast<const std::byte*>(data), size}, longhaul::ComputeType::kAuto);
  return 0;
}

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

// Begins anew from a sound file where the corpus has nothing that looks like one.
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned int) {
  static const std::vector<std::byte> seed = longhaul::SmallestModel().Build();
  if ((size < 24 || std::memcmp(data, "GGUF", 4) != 0) && max_size >= seed.size()) {
    std::memcpy(data, seed.data(), seed.size());
    size = seed.size();
  }
  return LLVMFuzzerMutate(data, size, max_size);
}
