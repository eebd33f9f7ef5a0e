#include "tests/fuzz/model_bytes.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "engine/model/gguf/gguf.h"
#include "engine/model/model_file.h"
#include "engine/model/single_runner.h"
#include "engine/model/vocabulary_reader.h"
#include "engine/position/rotary_plan.h"
#include "engine/text/tokenizer.h"
#include "tests/support/hand_batch.h"

namespace longhaul {
namespace {

// Ends the process, which every fuzzer reports.
void Check(bool condition, const absl::Status& status) {
  if (condition) return;
  std::fprintf(stderr, "unexpected: %s\n", status.ToString().c_str());
  std::abort();
}

std::string Refusal(const absl::Status& status) {
  Check(status.code() == absl::StatusCode::kInvalidArgument, status);
  return std::string(status.message());
}

absl::StatusOr<TokenId> OneToken(Runner& runner, const RotaryPlan& plan) {
  const BlockId block = 0;
  const TokenId token = 0;
  Batch batch;
  AddGroup(batch, {{.tokens = {&token, 1}, .blocks = {&block, 1}, .plan = std::make_shared<const RotaryPlan>(plan)}},
           Greedy());
  const auto ticket = runner.Submit(std::move(batch));
  if (!ticket.ok()) return ticket.status();
  const auto result = runner.Collect(*ticket);
  if (!result.ok()) return result.status();
  return result->groups.at(0).drawn.id;
}

}  // namespace

ModelBytesResult TryModelBytes(std::span<const std::byte> bytes, std::optional<ComputeType> type) {
  // A copy of exactly this size, so that the address sanitizer sees every read past its end.
  const auto copy = std::make_unique<std::byte[]>(bytes.size());
  if (!bytes.empty()) std::memcpy(copy.get(), bytes.data(), bytes.size());

  auto checkpoint = ReadGguf(SourceOf({copy.get(), bytes.size()}, "mutant"));
  if (!checkpoint.ok()) return {Reached::kNothing, Refusal(checkpoint.status()), {}};
  const auto model = LoadModelFile(*std::move(checkpoint));
  if (!model.ok()) return {Reached::kHeader, Refusal(model.status()), {}};
  const auto plan = PlainPlan(model->config.rotation);
  Check(plan.ok(), plan.status());  // ReadModelConfig refuses such rotations by their keys

  auto vocabulary = ReadVocabulary(*model->checkpoint);
  if (!vocabulary.ok()) return {Reached::kTensors, Refusal(vocabulary.status()), {}};
  const auto tokenizer = Tokenizer::Create(*std::move(vocabulary));
  if (!tokenizer.ok()) return {Reached::kTensors, Refusal(tokenizer.status()), {}};
  const auto ids = (*tokenizer)->Encode("abc a cab");
  if (!ids.ok()) return {Reached::kTensors, std::string(ids.status().message()), {}};
  (*tokenizer)->Detokenize(*ids, true);
  if (!type) return {Reached::kTokenizer, "", {}};

  SingleRunnerOptions options;
  options.backend.compute_type = *type;
  options.backend.threads = 1;
  options.kv_cache_bytes = 1 << 20;
  options.limits = {.max_tokens = 1, .max_logit_rows = 1};
  const auto runner = SingleRunner::Create(*model, options);
  if (!runner.ok()) return {Reached::kTokenizer, std::string(runner.status().message()), {}};
  const auto token = OneToken(**runner, *plan);
  if (!token.ok()) return {Reached::kRunner, std::string(token.status().message()), {}};
  return {Reached::kToken, "", *token};
}

}  // namespace longhaul
