#include "engine/model_info.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "engine/base/utf8.h"
#include "engine/model/model_file.h"
#include "engine/model/runner.h"
#include "engine/position/position_resolver.h"
#include "engine/prepare/prompt_encoder.h"

namespace longhaul {
std::string ReadModelName(const std::string& path) {
  if (const auto checkpoint = OpenCheckpoint(path); checkpoint.ok()) {
    const absl::StatusOr<ModelConfig> config = ReadModelConfig(**checkpoint);
    if (config.ok() && !config->name.empty()) return config->name;
  }
  std::string name = std::filesystem::path(path).stem().string();
  return TakeUtf8(name, /*at_end=*/true);
}

ModelInfo DescribeModel(const ModelFile& model, const PromptEncoder& encoder, const RunnerInfo& runner,
                        const PositionResolver& positions) {
  ModelInfo info;
  const ModelConfig& config = model.config;
  info.name = config.name;
  info.architecture = config.architecture;
  info.path = model.checkpoint->path();
  info.parameters = model.parameters;
  info.file_bytes = model.checkpoint->file_bytes();
  std::map<std::string_view, int64_t> elements;
  for (const TensorEntry& tensor : model.checkpoint->tensors()) elements[Info(tensor.type).name] += tensor.elements;
  const auto most = std::max_element(elements.begin(), elements.end(),
                                     [](const auto& a, const auto& b) { return a.second < b.second; });
  if (most != elements.end()) info.file_type = most->first;
  info.vocabulary_size = config.vocabulary_size;
  info.trained_length = positions.trained_length();
  info.n_layers = config.n_layers;
  info.n_heads = config.n_heads;
  info.n_kv_heads = config.n_kv_heads;
  info.head_dim = config.head_dim;
  info.width = config.width;
  const Vocabulary& vocabulary = encoder.tokenizer().vocabulary();
  info.pre_tokenizer = vocabulary.pre_tokenizer;
  if (encoder.chat_style().ok()) info.chat_template = Name(encoder.chat_style()->family);
  info.bos = vocabulary.bos.value_or(-1);
  info.eos = vocabulary.eos.value_or(-1);
  info.end_tokens = encoder.tokenizer().end_tokens();
  info.compute_type = Name(runner.backend.compute_type);
  info.cache_type = Name(runner.backend.cache_type);
  info.instruction_set = runner.backend.instruction_set;
  info.backend = runner.backend.name;
  info.version = LONGHAUL_VERSION;
  info.threads = runner.backend.threads;
  info.cache_tokens = runner.geometry.tokens();
  info.block_tokens = runner.geometry.block_tokens;
  info.longest_token = static_cast<int64_t>(encoder.tokenizer().longest_token());
  info.engine_fingerprint = absl::StrCat("xxh3:", runner.file_digest, "/", info.compute_type, "/", info.cache_type, "/",
                                         info.instruction_set, "/", info.version);
  return info;
}

}  // namespace longhaul
