#include "tests/oracle/oracle_support.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <utility>

#include "tests/support/hand_batch.h"
#include "tests/support/test_model.h"

namespace longhaul {
namespace {

GroupResult Failed(const absl::Status& status) {
  ADD_FAILURE() << status;
  return {};
}

ModelFile LoadTestModel() {
  auto loaded = LoadModelFile(TestModelPath());
  if (!loaded.ok()) {
    std::fprintf(stderr, "%s\n", std::string(loaded.status().message()).c_str());
    std::exit(1);
  }
  return *std::move(loaded);
}

void CompareLogits(const nlohmann::json& golden, const float* logits, size_t vocabulary, Comparison& comparison) {
  const double largest = *std::max_element(logits, logits + vocabulary);
  double sum = 0;
  for (size_t i = 0; i < vocabulary; ++i) sum += std::exp(logits[i] - largest);
  comparison.log_sum_exp.Add(largest + std::log(sum), golden["log_sum_exp"]);
  for (size_t i = 0; i < golden["ids"].size(); ++i) {
    comparison.logits.Add(logits[golden["ids"][i].get<size_t>()], golden["values"][i]);
  }
}

}  // namespace

nlohmann::json ReadGolden(const std::string& name) {
  std::ifstream file(SourcePath("tests/oracle/goldens/" + name + ".json"));
  return nlohmann::json::parse(file);
}

const ModelFile& TestModel() {
  static const auto* const model = new ModelFile(LoadTestModel());
  return *model;
}

ModelFile FirstLayers(int64_t n_layers) {
  ModelFile model = LoadTestModel();
  model.config.n_layers = n_layers;
  model.config.layers.resize(static_cast<size_t>(n_layers));
  model.tensors.layers.resize(static_cast<size_t>(n_layers));
  return model;
}

std::unique_ptr<SingleRunner> MakeRunner(ComputeType compute, CacheType cache, int64_t kv_cache_bytes,
                                         const ModelFile& model) {
  SingleRunnerOptions options;
  options.backend.compute_type = compute;
  options.backend.cache_type = cache;
  options.kv_cache_bytes = kv_cache_bytes;
  options.limits.max_tokens = kChunk;
  options.limits.max_logit_rows = kChunk;
  auto runner = SingleRunner::Create(model, options);
  EXPECT_TRUE(runner.ok()) << runner.status();
  return runner.ok() ? *std::move(runner) : nullptr;
}

void Differences::Add(double value, double golden) {
  // A NaN counts as infinitely far.
  const double difference = std::isnan(value) ? INFINITY : std::abs(value - golden);
  sum_ += difference;
  max_ = std::max(max_, difference);
  ++n_;
}

Row::Row(SingleRunner& runner, RotaryPlan plan)
    : runner_(runner),
      pool_(runner.info().geometry),
      blocks_(pool_),
      ring_(pool_),
      plan_(std::make_shared<const RotaryPlan>(std::move(plan))) {
  ring_.ReserveBlocks(pool_.geometry().RingBlocks(*plan_, pool_.geometry().tokens()));
}

GroupResult Row::Step(const std::vector<TokenId>& tokens, const std::vector<TokenId>& targets,
                      std::optional<BatchDraw> draw) {
  const auto n = static_cast<int64_t>(tokens.size());
  blocks_.Reserve(length_ + n);
  Batch batch;
  AddGroup(batch, {{tokens, length_, blocks_.blocks(), ring_.blocks(), length_ > 0, plan_}}, std::move(draw), targets);
  length_ += n;
  auto ticket = runner_.Submit(std::move(batch));
  if (!ticket.ok()) return Failed(ticket.status());
  auto result = runner_.Collect(*ticket);
  return result.ok() ? std::move(result->groups.at(0)) : Failed(result.status());
}

Comparison Compare(SingleRunner& runner, const RotaryPlan& plan, const std::vector<TokenId>& ids,
                   const nlohmann::json& golden, int64_t one_by_one) {
  Comparison comparison;
  Row row(runner, plan);
  const auto n = static_cast<int64_t>(ids.size());
  const auto first_scored = golden.value("first_scored", int64_t{1});
  int64_t end = 0;
  for (int64_t begin = 0; begin < n; begin = end) {
    end = begin < n - one_by_one ? std::min(n - one_by_one, begin + kChunk) : begin + 1;
    std::vector<TokenId> targets;
    if (end >= first_scored) {
      targets.assign(ids.begin() + begin + 1, ids.begin() + std::min(n, end + 1));
      if (end == n) targets.push_back(0);  // nothing follows the last token: any id, its score is left out
    }
    const GroupResult result = row.Step({ids.begin() + begin, ids.begin() + end}, targets);
    if (result.scores.size() != targets.size()) {
      ADD_FAILURE() << result.scores.size() << " scores of " << targets.size() << " targets";
      return comparison;
    }
    if (targets.empty()) continue;
    for (int64_t token = std::max(begin + 1, first_scored); token < std::min(end + 1, n); ++token) {
      comparison.nll.Add(-result.scores[static_cast<size_t>(token - 1 - begin)].logprob,
                         golden["nll"][static_cast<size_t>(token - first_scored)]);
    }
    const std::vector<float> logits = runner.transformer().ReadLogits();
    const size_t vocabulary = logits.size() / targets.size();
    for (const auto& at : golden["logits"]) {
      const auto position = at["position"].get<int64_t>();
      if (position < begin || position >= end) continue;
      CompareLogits(at, logits.data() + static_cast<size_t>(position - begin) * vocabulary, vocabulary, comparison);
    }
  }
  // None of the golden's values was passed over.
  EXPECT_EQ(static_cast<size_t>(comparison.nll.n()), golden["nll"].size());
  EXPECT_EQ(static_cast<size_t>(comparison.log_sum_exp.n()), golden["logits"].size());
  return comparison;
}

void ExpectWithin(const Comparison& comparison, double max, const std::string& name) {
  std::printf("%-6s nll mean %.1e max %.1e | logits mean %.1e max %.1e | log-sum-exp max %.1e\n", name.c_str(),
              comparison.nll.mean(), comparison.nll.max(), comparison.logits.mean(), comparison.logits.max(),
              comparison.log_sum_exp.max());
  EXPECT_LE(comparison.nll.max(), max) << name;
  // A logit by itself moves more than a likelihood, in which a common shift of all logits cancels.
  EXPECT_LE(comparison.logits.max(), 2 * max) << name;
  EXPECT_LE(comparison.log_sum_exp.max(), 2 * max) << name;
}

}  // namespace longhaul
