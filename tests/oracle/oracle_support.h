#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "engine/cache/block_pool.h"
#include "engine/cache/block_table.h"
#include "engine/model/model_file.h"
#include "engine/model/single_runner.h"

// What the tests against the oracle share: goldens, the default model, a request on a runner, differences.
namespace longhaul {

inline constexpr int64_t kChunk = 512;  // tokens of a step

// tests/oracle/goldens/NAME.json.
nlohmann::json ReadGolden(const std::string& name);

// The default model, loaded once. Ends the test program with a message when it cannot be.
const ModelFile& TestModel();

// The default model without the layers behind the first `n_layers`, as the goldens of the longest texts have it.
ModelFile FirstLayers(int64_t n_layers);

// A runner of steps of kChunk tokens; null, and a test failure, when there can be none. `model` outlives it.
std::unique_ptr<SingleRunner> MakeRunner(ComputeType compute, CacheType cache, int64_t kv_cache_bytes,
                                         const ModelFile& model = TestModel());

// Absolute differences from golden values.
class Differences {
 public:
  void Add(double value, double golden);
  double mean() const { return sum_ / n_; }
  double max() const { return max_; }
  int n() const { return n_; }

 private:
  double sum_ = 0, max_ = 0;
  int n_ = 0;
};

// Of differences, nats per token.
struct Bound {
  double mean, max;
};

// One request, step by step, alone in the cache of a runner.
class Row {
 public:
  // `runner` outlives it.
  Row(SingleRunner& runner, RotaryPlan plan);

  // Appends `tokens` (at most kChunk). `targets`: what to score after each of them. Else `draw`, if given, draws after
  // the last. A step that fails is a test failure and returns nothing.
  GroupResult Step(const std::vector<TokenId>& tokens, const std::vector<TokenId>& targets,
                   std::optional<BatchDraw> draw = {});

 private:
  SingleRunner& runner_;
  BlockPool pool_;
  BlockTable blocks_, ring_;
  const std::shared_ptr<const RotaryPlan> plan_;
  int64_t length_ = 0;
};

// What the engine computed for a text, held against its golden.
struct Comparison {
  Differences nll, logits, log_sum_exp;
};

// Reads `ids` in steps of kChunk, the last `one_by_one` tokens in steps of their own. The golden's `nll` is of the
// tokens from `first_scored` (1 if not there) to the last.
Comparison Compare(SingleRunner& runner, const RotaryPlan& plan, const std::vector<TokenId>& ids,
                   const nlohmann::json& golden, int64_t one_by_one = 0);

// Prints the differences and holds the largest ones against the bound.
void ExpectWithin(const Comparison& comparison, double max, const std::string& name);

}  // namespace longhaul
