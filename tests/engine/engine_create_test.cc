// What an engine is made of: options that do not go with a model's file are refused.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "engine/engine.h"
#include "tests/support/small_model.h"

namespace longhaul {
namespace {

using ::testing::HasSubstr;

TEST(EngineCreate, NamesTheFileThatIsNotThere) {
  EngineOptions options;
  options.model_path = "/nowhere/model.gguf";
  EXPECT_THAT(std::string(Engine::Create(options).status().message()), HasSubstr("/nowhere/model.gguf"));
}

TEST(EngineCreate, RefusesMoreRowsThanAStepHolds) {
  EngineOptions options;
  options.model_path = SmallModelPath();
  options.max_rows = 300;
  options.max_batch_tokens = 256;
  const auto engine = Engine::Create(options);
  ASSERT_FALSE(engine.ok());
  EXPECT_THAT(std::string(engine.status().message()), HasSubstr("--max-rows: 300"));
}

}  // namespace
}  // namespace longhaul
