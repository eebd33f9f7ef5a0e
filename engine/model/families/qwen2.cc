#include "engine/model/families/qwen2.h"

#include <utility>

#include "engine/base/status_macros.h"
#include "engine/model/families/dense.h"

namespace longhaul {
namespace {

absl::StatusOr<ModelConfig> ReadConfig(const Checkpoint& checkpoint, ModelConfig config) {
  LH_ASSIGN_OR_RETURN(config, ReadDenseConfig(checkpoint, std::move(config)));
  config.pair_layout = PairLayout::kHalfSplit;
  for (LayerConfig& layer : config.layers) layer.biases.query_key_value = true;
  return config;
}

}  // namespace

constinit const Family kQwen2 = {
    .architecture = "qwen2", .read_config = &ReadConfig, .take_tensors = &TakeDenseTensors};

}  // namespace longhaul
