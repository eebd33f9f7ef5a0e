// What position modes cost beside the plain plan, on the default model and the same kernels: prefill of a text, and
// decode at its end. The plain row and the mode's take turns, chunk by chunk and token by token, so that whatever else
// the machine does falls on both; the ratio of a round is that of their sums, and the median of the rounds is printed.
//   position_bench [ROUNDS [COMPUTE_TYPE [CACHE_TYPE [LENGTH... [MODE...]]]]]     default: 10 int8 bf16 4096, all modes

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/cache/block_pool.h"
#include "engine/model/model_file.h"
#include "engine/model/single_runner.h"
#include "engine/position/position_resolver.h"
#include "engine/scheduling/sequence.h"
#include "tests/support/hand_batch.h"
#include "tests/support/test_model.h"

namespace longhaul {
namespace {

constexpr int64_t kChunk = 512, kDecoded = 64;

struct Seconds {
  double prefill = 0, decode = 0;
};

// A row that is read token by token; tokens do not matter.
class Row {
 public:
  Row(SingleRunner& runner, BlockPool& pool, const RotaryPlan& plan, int64_t capacity)
      : runner_(runner), sequence_({}, std::make_shared<const RotaryPlan>(plan), pool) {
    sequence_.Reserve(capacity, capacity);
  }

  // Appends `n` tokens; the seconds that the step took.
  double Step(int64_t n) {
    std::vector<TokenId> tokens;
    for (int64_t i = 0; i < n; ++i) {
      tokens.push_back(static_cast<TokenId>(1000 + (sequence_.n_computed + i) * 37 % 20000));
    }
    Batch batch;
    AddGroup(batch,
             {{tokens, sequence_.n_computed, sequence_.blocks.blocks(), sequence_.ring.blocks(), sequence_.ring_ready,
               sequence_.plan}},
             Greedy());
    const auto begin = std::chrono::steady_clock::now();
    const auto ticket = runner_.Submit(std::move(batch));
    if (!ticket.ok() || !runner_.Collect(*ticket).ok()) std::abort();
    sequence_.n_computed += n;
    sequence_.ring_ready = true;
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  }

 private:
  SingleRunner& runner_;
  Sequence sequence_;
};

std::pair<Seconds, Seconds> Round(SingleRunner& runner, const RotaryPlan& plain, const RotaryPlan& mode, int64_t length,
                                  bool mode_first) {
  BlockPool pool(runner.info().geometry);
  Row rows[2] = {{runner, pool, plain, length + kDecoded}, {runner, pool, mode, length + kDecoded}};
  Seconds seconds[2];
  const auto both = [&](int64_t n, double Seconds::*part) {
    for (const bool second : {false, true}) {
      const size_t i = second != mode_first ? 1 : 0;
      seconds[i].*part += rows[i].Step(n);
    }
    mode_first = !mode_first;
  };
  for (int64_t begin = 0; begin < length; begin += kChunk) both(std::min(kChunk, length - begin), &Seconds::prefill);
  for (int64_t i = 0; i < kDecoded; ++i) both(1, &Seconds::decode);
  return {seconds[0], seconds[1]};
}

void PrintRatios(const char* what, std::vector<double> ratios) {
  std::sort(ratios.begin(), ratios.end());
  std::printf("  %s %.3f (%.3f to %.3f)", what, ratios[ratios.size() / 2], ratios.front(), ratios.back());
}

int Main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 10;
  const auto model = LoadModelFile(TestModelPath());
  if (!model.ok()) return 1;
  SingleRunnerOptions options;
  options.backend.compute_type = argc > 2 ? *ParseComputeType(argv[2]) : ComputeType::kInt8;
  options.backend.cache_type = argc > 3 ? *ParseCacheType(argv[3]) : CacheType::kBf16;
  options.kv_cache_bytes = int64_t{4} << 30;
  const auto runner = *SingleRunner::Create(*model, options);
  const auto resolver = *PositionResolver::Create(model->config.rotation, DefaultLongMode(), 0);
  std::vector<int64_t> lengths;
  std::vector<std::string> wanted;
  for (int i = 4; i < argc; ++i) {
    if (std::atoll(argv[i]) > 0) {
      lengths.push_back(std::atoll(argv[i]));
    } else {
      wanted.push_back(argv[i]);
    }
  }
  if (lengths.empty()) lengths.push_back(4096);

  const PositionMode modes[] = {{.kind = position::Rerope{2048}},
                                {.kind = position::LeakyRerope{2048, 8}},
                                {.kind = position::SelfExtend{8, 2048}},
                                {.kind = position::Yarn{4}},
                                {.kind = position::NtkFixed{4}}};
  std::printf("%s products, %s cache, %s; %d rounds; seconds of the mode / of none, median (least to most)\n",
              std::string(Name(options.backend.compute_type)).c_str(),
              std::string(Name(options.backend.cache_type)).c_str(), runner->info().backend.instruction_set.c_str(),
              rounds);
  for (int64_t length : lengths) {
    for (const PositionMode& mode : modes) {
      if (!wanted.empty() && std::find(wanted.begin(), wanted.end(), Name(mode)) == wanted.end()) continue;
      const RotaryPlan plan = resolver.Resolve(mode, length)->plan;
      std::vector<double> prefill, decode;
      double plain_prefill = 0;
      for (int round = 0; round < rounds; ++round) {
        const auto [plain, other] = Round(*runner, resolver.plain_plan(), plan, length, round % 2 == 1);
        prefill.push_back(other.prefill / plain.prefill);
        decode.push_back(other.decode / plain.decode);
        plain_prefill += plain.prefill;
      }
      std::printf("%-12s %6ld tokens:", Name(mode), static_cast<long>(length));
      PrintRatios("prefill", prefill);
      PrintRatios("decode", decode);
      std::printf("  (none: prefill %.2f s)\n", plain_prefill / rounds);
      std::fflush(stdout);
    }
  }
  return 0;
}

}  // namespace
}  // namespace longhaul

int main(int argc, char** argv) {
  return longhaul::Main(argc, argv);
}
