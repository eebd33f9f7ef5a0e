#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/base/token.h"

namespace longhaul {

class PositionResolver;
class PromptEncoder;
struct ModelFile;
struct RunnerInfo;

// What clients are told of the loaded model.
struct ModelInfo {
  std::string name, architecture, path;
  int64_t parameters = 0;
  int64_t file_bytes = 0;
  std::string file_type;  // the type of most matrices, "Q4_1"
  int64_t vocabulary_size = 0, trained_length = 0, n_layers = 0, n_heads = 0, n_kv_heads = 0, head_dim = 0, width = 0;
  std::string pre_tokenizer;
  std::string chat_template;        // "chatml", "llama3", or empty when unknown
  TokenId bos = -1, eos = -1;       // -1: the file names none
  std::vector<TokenId> end_tokens;  // every token that ends an answer
  std::string compute_type, cache_type, instruction_set, backend, version;
  int threads = 0;
  int64_t cache_tokens = 0;        // tokens that the KV cache holds
  int64_t block_tokens = 0;        // tokens in one block
  int64_t longest_token = 0;       // bytes
  std::string engine_fingerprint;  // of every byte of the model file, types, instruction set and version
};

// The name of a model, read without loading it: as the file says, else the name of the file without its extension.
std::string ReadModelName(const std::string& path);

// Collects what is known of a loaded model.
ModelInfo DescribeModel(const ModelFile& model, const PromptEncoder& encoder, const RunnerInfo& runner,
                        const PositionResolver& positions);

}  // namespace longhaul
