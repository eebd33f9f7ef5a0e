#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <optional>
#include <string_view>

#include "engine/base/instruction_set.h"
#include "engine/model/families/family.h"
#include "tests/fuzz/model_bytes.h"
#include "tests/fuzz/mutator.h"
#include "tests/support/gguf_writer.h"

// The address sanitizer ends the program on an allocation beyond any that a file of 4 KB may cause.
extern "C" const char* __asan_default_options() {
  return "max_allocation_size_mb=512";
}

// What the sanitizers call before they end the program; null without one.
extern "C" __attribute__((weak)) void __sanitizer_set_death_callback(void (*)());

namespace longhaul {
namespace {

constexpr uint64_t kMutants = 110000;

// One of four mutants is taken all the way to a token, with each kind of products in turn.
std::optional<ComputeType> ForwardType(uint64_t n) {
  static constexpr ComputeType kTypes[] = {ComputeType::kF32, ComputeType::kBf16, ComputeType::kInt8};
  return n % 4 == 0 ? std::optional(kTypes[n / 4 % 3]) : std::nullopt;
}

uint64_t current_mutant = 0;

void NameTheMutant() {
  std::fprintf(stderr, "mutant %llu: run again with LONGHAUL_MUTANT=%llu\n",
               static_cast<unsigned long long>(current_mutant), static_cast<unsigned long long>(current_mutant));
}

TEST(GgufMutationTest, TheSeedsYieldAToken) {
  for (const Family* family : Families()) {
    const ModelBytesResult result =
        TryModelBytes(SmallestModel(std::string(family->architecture)).Build(), ComputeType::kAuto);
    EXPECT_EQ(result.reached, Reached::kToken) << family->architecture << ": " << result.refusal;
    ASSERT_TRUE(result.token.has_value());
    EXPECT_GE(*result.token, 0);
    EXPECT_LT(*result.token, 24);
  }
}

// In every tensor type and every kind of products.
void ExpectTokens(TinyModelOptions shape) {
  for (const TensorType type : {TensorType::kF32, TensorType::kF16, TensorType::kBF16, TensorType::kQ4_0,
                                TensorType::kQ4_1, TensorType::kQ5_0, TensorType::kQ5_1, TensorType::kIQ4_NL,
                                TensorType::kQ8_0, TensorType::kQ4_K, TensorType::kQ5_K, TensorType::kQ6_K}) {
    shape.type = [type](std::string_view) { return type; };
    const std::vector<std::byte> bytes = TinyModel(shape).Build();
    for (const ComputeType compute : {ComputeType::kF32, ComputeType::kBf16, ComputeType::kInt8}) {
      const ModelBytesResult result = TryModelBytes(bytes, compute);
      EXPECT_EQ(result.reached, Reached::kToken) << result.refusal;
      EXPECT_GE(result.token.value_or(-1), 0) << Info(type).name << " width " << shape.width;
    }
  }
}

TEST(GgufMutationTest, OddShapesYieldATokenOnEveryInstructionSet) {
  for (const char* name : {"portable", "avx2", "avx512"}) {
    const auto set = ParseInstructionSet(name);
    if (!set.ok()) continue;
    UseInstructionSet(*set);
    ExpectTokens({.n_heads = 1, .n_kv_heads = 1, .head_dim = 2, .width = 1, .feed_forward_width = 1});
    ExpectTokens({.n_layers = 3, .n_heads = 6, .n_kv_heads = 3, .head_dim = 6, .width = 33, .feed_forward_width = 7});
    ExpectTokens({.n_heads = 100, .n_kv_heads = 2, .head_dim = 2, .width = 5, .vocabulary = 1001});
    ExpectTokens({.n_heads = 1, .n_kv_heads = 1, .head_dim = 256, .width = 32, .tied = false});
    ExpectTokens({.n_heads = 2, .n_kv_heads = 2, .head_dim = 128, .width = 256, .feed_forward_width = 512});
  }
  UseInstructionSet(DetectInstructionSet());
}

TEST(GgufMutationTest, NoMutantCrashes) {
  if (__sanitizer_set_death_callback != nullptr) {
    __sanitizer_set_death_callback(&NameTheMutant);
  } else {
    std::set_terminate([] { NameTheMutant(), std::abort(); });
    const rlimit memory{size_t{4} << 30, size_t{4} << 30};
    setrlimit(RLIMIT_AS, &memory);
  }
  std::vector<Mutator> mutators;
  for (const Family* family : Families()) {
    mutators.emplace_back(SmallestModel(std::string(family->architecture)).Build());
  }
  uint64_t first = 0, end = kMutants;
  if (const char* one = std::getenv("LONGHAUL_MUTANT")) {
    first = std::strtoull(one, nullptr, 10);
    end = first + 1;
  }

  std::array<uint64_t, 6> reached{};
  uint64_t with_magic = 0;
  double slowest = 0;
  for (current_mutant = first; current_mutant < end; ++current_mutant) {
    const std::vector<std::byte> mutant = mutators[current_mutant % mutators.size()].Mutant(current_mutant);
    with_magic += mutant.size() >= 4 && std::string_view(reinterpret_cast<const char*>(mutant.data()), 4) == "GGUF";
    const auto begin = std::chrono::steady_clock::now();
    const ModelBytesResult result = TryModelBytes(mutant, ForwardType(current_mutant));
    slowest = std::max(slowest, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    ++reached.at(static_cast<size_t>(result.reached));
    if (end == first + 1) std::fprintf(stderr, "%s\n", result.refusal.c_str());
  }
  if (end == first + 1) return;

  std::cout << kMutants << " mutants, " << with_magic << " with the magic: refused by the header " << reached[0]
            << ", by configuration or tensors " << reached[1] << ", by the tokenizer " << reached[2]
            << ", by the runner " << reached[4] << "; loaded " << reached[3] + reached[5] << ", gave a token "
            << reached[5] << "; slowest " << slowest * 1e3 << " ms\n";
  EXPECT_GE(with_magic, kMutants * 85 / 100);
  EXPECT_GE(reached[1] + reached[2], kMutants / 10) << "too few get past the header and are refused by a later check";
  EXPECT_GE(reached[5], kMutants / 1000) << "too few give a token";
  EXPECT_LT(slowest, 5);
}

}  // namespace
}  // namespace longhaul
