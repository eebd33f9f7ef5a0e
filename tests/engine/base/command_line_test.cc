#include "engine/base/command_line/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <new>
#include <stdexcept>

#include "engine/base/command_line/run_program.h"

namespace longhaul {
namespace {

using testing::HasSubstr;

// A program with a flag of each kind, and what it was told.
class CommandLineTest : public testing::Test {
 protected:
  CommandLineTest() {
    app_.require_subcommand(1);
    CLI::App* const command = app_.add_subcommand("generate", "help");
    command->add_option("prompt", prompt_)->type_name(kMayBeEmpty);
    command->add_option("--max-tokens", max_tokens_);
    command->add_option("--seed", seed_);
    command->add_option("--temperature", temperature_);
    command->add_option("--memory", memory_)->transform(Bytes(1024, int64_t{1} << 40, "1KiB to 1TiB"));
    command->add_option("--name", name_);
    command->add_option("--timeout", timeout_)
        ->transform(
            CLI::AsNumberWithUnit(std::map<std::string, double>{{"s", 1}}, CLI::AsNumberWithUnit::DEFAULT, "TIME"));
    command->add_option("--documents", documents_)->type_name(kMayBeEmpty);
    command->add_option("--stop", stops_)->allow_extra_args(false);
    app_.add_subcommand("ask", "help");
  }

  std::optional<int> Parse(std::vector<std::string> words) {
    words.insert(words.begin(), "/usr/bin/program");
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    testing::internal::CaptureStderr();
    const std::optional<int> code = ParseCommandLine(app_, static_cast<int>(argv.size()), argv.data());
    error_ = testing::internal::GetCapturedStderr();
    return code;
  }

  void ExpectRefused(const std::vector<std::string>& words, const std::string& message) {
    EXPECT_EQ(Parse(words), 2);
    EXPECT_THAT(error_, HasSubstr(message));
  }

  CLI::App app_{"help"};
  std::string prompt_, name_, error_;
  int32_t max_tokens_ = -1;
  uint64_t seed_ = 1, memory_ = 0;
  double temperature_ = 0;
  double timeout_ = 0;
  std::vector<std::string> stops_, documents_;
};

TEST_F(CommandLineTest, NumbersAreDecimal) {
  EXPECT_EQ(Parse({"generate", "--max-tokens", "010", "--seed=0018446744073709551615", "--temperature", "0.50"}),
            std::nullopt);
  EXPECT_EQ(max_tokens_, 10);
  EXPECT_EQ(seed_, 18446744073709551615u);
  EXPECT_EQ(temperature_, 0.5);
}

TEST_F(CommandLineTest, ASignStaysAndZeroIsZero) {
  EXPECT_EQ(Parse({"generate", "--max-tokens", "-007", "--seed", "000"}), std::nullopt);
  EXPECT_EQ(max_tokens_, -7);
  EXPECT_EQ(seed_, 0u);
}

TEST_F(CommandLineTest, WhatIsNoSuchNumberIsRefused) {
  ExpectRefused({"generate", "--seed", "-1"}, "--seed: '-1' is not a whole number, 0 or more");
  ExpectRefused({"generate", "--max-tokens", "0x10"}, "'0x10' is not a whole number");
  ExpectRefused({"generate", "--max-tokens", "1e3"}, "'1e3' is not a whole number");
  ExpectRefused({"generate", "--max-tokens", "-"}, "'-' is not a whole number");
  ExpectRefused({"generate", "--max-tokens", "3000000000"}, "--max-tokens");
  ExpectRefused({"generate", "--seed", "18446744073709551616"}, "too large");
  ExpectRefused({"generate", "--temperature", "0x1"}, "'0x1' is not a number");
  ExpectRefused({"generate", "--timeout", "0x10s"}, "'0x10s' is not a decimal number");
  ExpectRefused({"generate", "--max-tokens", "3000000000"}, "too large");
  ExpectRefused({"generate", "--temperature", "nan"}, "'nan' is not a number");
  ExpectRefused({"generate", "--temperature", "warm"}, "'warm' is not a number");
}

TEST_F(CommandLineTest, SizesHaveDecimalsAndUnits) {
  const std::pair<const char*, uint64_t> sizes[] = {
      {"2.5GiB", 2684354560u}, {"2.5g", 2684354560u}, {"1KB", 1024},      {"4096", 4096},
      {"4096B", 4096},         {"1TiB", 1ull << 40},  {"0.5MiB", 524288}, {"010M", 10485760}};
  for (const auto& [text, bytes] : sizes) {
    EXPECT_EQ(Parse({"generate", "--memory", text}), std::nullopt) << text << error_;
    EXPECT_EQ(memory_, bytes) << text;
  }
  for (const char* text : {"", "GiB", "1.2.3M", "-1M", "4XB", "4GiBs", "nan", "1 GiB"}) {
    ExpectRefused({"generate", "--memory", text}, "is no size");
  }
  ExpectRefused({"generate", "--memory", "2TiB"}, "1KiB to 1TiB");
  ExpectRefused({"generate", "--memory", "1"}, "1KiB to 1TiB");
}

TEST_F(CommandLineTest, AnEmptyTextIsGiven) {
  ExpectRefused({"generate", "--name", ""}, "--name: it is given and empty");
  ExpectRefused({"generate", "--name=", "prompt"}, "--name: it is given and empty");
  EXPECT_EQ(Parse({"generate", ""}), std::nullopt);
  EXPECT_EQ(app_.get_subcommand("generate")->count("prompt"), 1u);
}

TEST_F(CommandLineTest, AnOptionTakesOneValueEachTime) {
  EXPECT_EQ(Parse({"generate", "--stop", ".", "Say hello", "--stop", "!"}), std::nullopt);
  EXPECT_EQ(prompt_, "Say hello");
  EXPECT_EQ(stops_, std::vector<std::string>({".", "!"}));
}

TEST_F(CommandLineTest, BracketsAreNoList) {
  EXPECT_EQ(Parse({"generate", "[a, b]", "--documents", "[x,y].txt", "[why, how]", "[]", "--name", "[n]"}),
            std::nullopt)
      << error_;
  EXPECT_EQ(prompt_, "[a, b]");
  EXPECT_EQ(documents_, std::vector<std::string>({"[x,y].txt", "[why, how]", "[]"}));
  EXPECT_EQ(name_, "[n]");
  ExpectRefused({"generate", "a", "[b]"}, "'[b]' is one word too many");
}

TEST_F(CommandLineTest, WhatComesAfterTwoDashesIsNoFlag) {
  EXPECT_EQ(Parse({"generate", "--", "--max-tokens"}), std::nullopt);
  EXPECT_EQ(prompt_, "--max-tokens");
  ExpectRefused({"generate", "--", "a", "--max-tokens"}, "'--max-tokens' is one word too many");
}

TEST_F(CommandLineTest, AMisspeltWordIsNamedWithTheNearest) {
  ExpectRefused({"genrate", "x"}, "'genrate' is no command; did you mean generate?");
  ExpectRefused({"paint", "x"}, "'paint' is no command; they are generate, ask");
  ExpectRefused({}, "a command is missing: generate, ask");
  ExpectRefused({"generate", "--max-tokns", "5"}, "'--max-tokns' is no flag of generate; did you mean --max-tokens?");
  ExpectRefused({"generate", "--max-tokns=5"}, "did you mean --max-tokens?");
  ExpectRefused({"--versoin"}, "'--versoin' is no flag; did you mean --version?");
  ExpectRefused({"generate", "--colour"},
                "'--colour' is no flag of generate; a text that begins with - comes after --");
  ExpectRefused({"--seed", "1", "generate"}, "'--seed' is a flag of generate: write it after that word");
  ExpectRefused({"generate", "--version"}, "write it before that word");
  ExpectRefused({"generate", "Say", "hello"}, "'hello' is one word too many; a text with spaces needs quotes");
}

TEST_F(CommandLineTest, TheVersionIsTold) {
  testing::internal::CaptureStdout();
  EXPECT_EQ(Parse({"--version"}), 0);
  std::fflush(stdout);
  EXPECT_EQ(testing::internal::GetCapturedStdout(), LONGHAUL_VERSION "\n");
}

TEST(RunProgram, SaysWhatCouldNotBeHadAndEndsWithOne) {
  const auto said = [](int (*program)(int, char**), int expected) {
    testing::internal::CaptureStderr();
    EXPECT_EQ(RunProgram(0, nullptr, program), expected);
    return testing::internal::GetCapturedStderr();
  };
  EXPECT_EQ(said([](int, char**) { return 7; }, 7), "");
  EXPECT_THAT(said([](int, char**) -> int { throw std::bad_alloc(); }, 1), testing::EndsWith(": out of memory\n"));
  EXPECT_THAT(said([](int, char**) -> int { throw std::runtime_error("no thread"); }, 1),
              testing::EndsWith(": no thread\n"));
}

}  // namespace
}  // namespace longhaul
