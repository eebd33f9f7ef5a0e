// The engine without the network: prefill and decode speed of one request, and decode of many together.
//   engine_bench [MODEL] [THREADS] [COMPUTE_TYPE] [CACHE_TYPE]

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include "engine/engine.h"
#include "tests/support/test_model.h"

namespace longhaul {
namespace {

Request Decode(int64_t prompt_tokens, int64_t answer_tokens) {
  GenerateParams params;
  TokenPrompt prompt;
  for (int64_t i = 0; i < prompt_tokens; ++i) prompt.ids.push_back(static_cast<TokenId>(1000 + i * 37 % 20000));
  params.prompt = prompt;
  params.stopping.max_tokens = answer_tokens;
  params.stopping.ignore_eos = true;
  Request request;
  request.params = params;
  return request;
}

Finished Wait(EventStream& stream) {
  Finished finished;
  while (auto event = stream.Next()) {
    if (auto* last = std::get_if<Finished>(&*event)) finished = *last;
  }
  return finished;
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

int Main(int argc, char** argv) {
  EngineOptions options;
  options.model_path = argc > 1 ? argv[1] : TestModelPath();
  if (argc > 2) options.threads = std::atoi(argv[2]);
  if (argc > 3) options.compute_type = *ParseComputeType(argv[3]);
  if (argc > 4) options.cache_type = *ParseCacheType(argv[4]);
  const auto begin = Clock::now();
  auto engine = Engine::Create(options);
  if (!engine.ok()) {
    std::fprintf(stderr, "%s\n", std::string(engine.status().message()).c_str());
    return 1;
  }
  std::printf("load %.3f s; %s\n", std::chrono::duration<double>(Clock::now() - begin).count(),
              (*engine)->model().engine_fingerprint.c_str());
  std::vector<double> prefill, decode;
  for (int round = 0; round < 5; ++round) {
    const Finished read = Wait(*(*engine)->Submit(Decode(512, 1), nullptr));
    prefill.push_back(512 / read.timings.prefill);
    const Finished wrote = Wait(*(*engine)->Submit(Decode(64, 129), nullptr));
    decode.push_back(128 / wrote.timings.decode);
  }
  std::printf("prefill 512: %.1f tokens/s (best %.1f)\n", Median(prefill),
              *std::max_element(prefill.begin(), prefill.end()));
  std::printf("decode at 64..192: %.1f tokens/s (best %.1f)\n", Median(decode),
              *std::max_element(decode.begin(), decode.end()));
  for (const int streams : {4, 16}) {
    std::vector<std::shared_ptr<EventStream>> running;
    const auto start = Clock::now();
    for (int i = 0; i < streams; ++i) running.push_back((*engine)->Submit(Decode(16, 64), nullptr));
    for (const auto& stream : running) Wait(*stream);
    std::printf("%d streams: %.1f tokens/s\n", streams,
                64 * streams / std::chrono::duration<double>(Clock::now() - start).count());
  }
  return 0;
}

}  // namespace
}  // namespace longhaul

int main(int argc, char** argv) {
  return longhaul::Main(argc, argv);
}
