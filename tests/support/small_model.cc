#include "tests/support/small_model.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/strings.h"
#include "tests/support/gguf_writer.h"

namespace longhaul {
namespace {

struct SmallModel {
  SmallModel(const std::string& architecture, TensorType type)
      : path(std::filesystem::temp_directory_path() /
             absl::StrCat("longhaul-small-", architecture, "-", ToAbsl(Info(type).name), "-", getpid(), ".gguf")) {
    TinyModelOptions options{.architecture = architecture,
                             .n_layers = 4,
                             .n_heads = 6,
                             .n_kv_heads = 2,
                             .head_dim = 64,
                             .width = 384,
                             .feed_forward_width = 1024,
                             .vocabulary = 6144,
                             .context_length = 8192,
                             .gain = 5,
                             .type = [type](std::string_view) { return type; }};
    if (Info(type).block_elements > 32) {  // rows of whole blocks
      options.n_heads = 4;
      options.width = 256;
    }
    const std::vector<std::byte> bytes = TinyModel(options).Build();
    std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(bytes.data()), std::ssize(bytes));
  }
  SmallModel(const SmallModel&) = delete;
  SmallModel& operator=(const SmallModel&) = delete;
  ~SmallModel() { std::filesystem::remove(path); }

  const std::filesystem::path path;
};

}  // namespace

std::string SmallModelPath(const std::string& architecture, TensorType type) {
  static std::map<std::pair<std::string, TensorType>, SmallModel> models;
  return models.try_emplace({architecture, type}, architecture, type).first->second.path;
}

}  // namespace longhaul
