#include "tests/oracle/family_models.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace longhaul {

std::vector<std::string> FamilyModelNames() {
  return {"llama", "qwen2", "qwen3"};
}

GgufWriter FamilyModel(const std::string& name) {
  // Heads that are together wider than the residual stream, as in Qwen3; the gain lets attention see many keys.
  TinyModelOptions options{.architecture = name,
                           .n_layers = 3,
                           .n_heads = 6,
                           .n_kv_heads = 2,
                           .head_dim = 16,
                           .width = 64,
                           .feed_forward_width = 96,
                           .vocabulary = 96,
                           .gain = 2,
                           .type = [](std::string_view) { return TensorType::kF32; }};
  GgufWriter writer = TinyModel(options);
  if (name != "llama") return writer;
  for (int64_t layer = 0; layer < options.n_layers; ++layer) {
    const std::pair<const char*, int64_t> biases[] = {{"attn_q", options.n_heads * options.head_dim},
                                                      {"attn_k", options.n_kv_heads * options.head_dim},
                                                      {"attn_v", options.n_kv_heads * options.head_dim},
                                                      {"attn_output", options.width},
                                                      {"ffn_gate", options.feed_forward_width},
                                                      {"ffn_up", options.feed_forward_width},
                                                      {"ffn_down", options.width}};
    for (const auto& [part, outputs] : biases) {
      writer.SetRandomTensor(absl::StrCat("blk.", layer, ".", part, ".bias"), {static_cast<uint64_t>(outputs)},
                             TensorType::kF32, 1);
    }
  }
  return writer;
}

}  // namespace longhaul
