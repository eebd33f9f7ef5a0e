#include "tests/support/test_model.h"

#include <cstdio>
#include <cstdlib>
#include <filesystem>

namespace longhaul {
namespace {

std::string CacheFolder() {
  if (const char* folder = std::getenv("LONGHAUL_CACHE")) return folder;
  if (const char* folder = std::getenv("XDG_CACHE_HOME")) return std::string(folder) + "/longhaul";
  const char* home = std::getenv("HOME");
  return std::string(home != nullptr ? home : ".") + "/.cache/longhaul";
}

}  // namespace

std::string TestModelPath() {
  const char* given = std::getenv("LONGHAUL_TEST_MODEL");
  const std::string path = given != nullptr ? given : CacheFolder() + "/models/SmolLM2-135M-Instruct.Q4_1.gguf";
  if (!std::filesystem::exists(path)) {
    std::fprintf(stderr, "the tests need the default model at %s: run deploy/fetch_model.sh\n", path.c_str());
    std::exit(1);
  }
  return path;
}

std::string SourcePath(const std::string& relative) {
  return std::string(LONGHAUL_SOURCE_DIR) + "/" + relative;
}

}  // namespace longhaul
