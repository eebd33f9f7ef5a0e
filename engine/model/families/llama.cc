#include "engine/model/families/llama.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/model/families/dense.h"

namespace longhaul {
namespace {

absl::StatusOr<ModelConfig> ReadConfig(const Checkpoint& checkpoint, ModelConfig config) {
  LH_ASSIGN_OR_RETURN(config, ReadDenseConfig(checkpoint, std::move(config)));
  for (size_t l = 0; l < config.layers.size(); ++l) {
    const auto has_bias = [&](const char* part) {
      return checkpoint.Find(absl::StrCat("blk.", l, ".", part, ".bias")) != nullptr;
    };
    config.layers[l].biases = {.query_key_value = has_bias("attn_q"),
                               .attention_output = has_bias("attn_output"),
                               .feed_forward = has_bias("ffn_up")};
  }
  return config;
}

}  // namespace

constinit const Family kLlama = {
    .architecture = "llama", .read_config = &ReadConfig, .take_tensors = &TakeDenseTensors};

}  // namespace longhaul
