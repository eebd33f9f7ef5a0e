#include "tests/support/small_model.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <vector>

#include "tests/support/gguf_writer.h"

namespace longhaul {
namespace {

struct SmallModel {
  SmallModel()
      : path(std::filesystem::temp_directory_path() / ("longhaul-small-" + std::to_string(getpid()) + ".gguf")) {
    const std::vector<std::byte> bytes = TinyModel({.n_layers = 4,
                                                    .n_heads = 6,
                                                    .n_kv_heads = 2,
                                                    .head_dim = 64,
                                                    .width = 384,
                                                    .feed_forward_width = 1024,
                                                    .vocabulary = 6144,
                                                    .context_length = 8192,
                                                    .gain = 5,
                                                    .type = [](std::string_view) { return TensorType::kQ4_1; }})
                                             .Build();
    std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(bytes.data()), std::ssize(bytes));
  }
  ~SmallModel() { std::filesystem::remove(path); }

  const std::filesystem::path path;
};

}  // namespace

std::string SmallModelPath() {
  static const SmallModel model;
  return model.path;
}

}  // namespace longhaul
