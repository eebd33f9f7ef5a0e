#include "engine/model/families/family.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/base/quoted.h"
#include "engine/model/gguf/gguf.h"
#include "tests/engine/model/changed_model.h"

namespace longhaul {
namespace {

using ::testing::HasSubstr;

TEST(FamilyTest, EachIsFoundByItsArchitecture) {
  ASSERT_FALSE(Families().empty());
  for (const Family* family : Families()) {
    EXPECT_EQ(FindFamily(family->architecture), family) << family->architecture;
    EXPECT_NE(family->read_config, nullptr);
    EXPECT_NE(family->take_tensors, nullptr);
  }
  EXPECT_NE(FindFamily("llama"), nullptr);
  EXPECT_EQ(FindFamily("mamba"), nullptr);
  EXPECT_EQ(FindFamily(""), nullptr);
}

TEST(FamilyTest, ARefusalListsThoseThatThereAre) {
  const std::vector<std::byte> bytes = ChangedModel(String("general.architecture", "mamba"));
  const auto checkpoint = ReadGguf(SourceOf(bytes, "m.gguf"));
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const std::string message = Message(ReadModelConfig(**checkpoint).status());
  EXPECT_THAT(message, HasSubstr("m.gguf: key 'general.architecture' holds 'mamba', which is not supported: "));
  for (const Family* family : Families()) {
    EXPECT_THAT(message, HasSubstr(Quoted(family->architecture)));
  }
}

}  // namespace
}  // namespace longhaul
