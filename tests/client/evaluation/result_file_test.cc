#include "client/evaluation/result_file.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "client/io/files.h"

namespace longhaul {
namespace {

using ::testing::HasSubstr;

class ResultFileTest : public ::testing::Test {
 protected:
  ResultFileTest() {
    std::filesystem::remove(path_);
    identity_.task = "tail-loss";
    identity_.engine_fingerprint = "sha256:1/bf16/f16";
    identity_.text_sha256 = "abc";
    identity_.text_tokens = 900;
    identity_.trained_length = 64;
    identity_.score_tokens = 2;
    run_.model = "a \"model\"";
    run_.command = {"longhaul", "evaluate"};
  }

  absl::StatusOr<ResultFile> Open() { return ResultFile::Open(path_, identity_, run_, spans_); }
  static Measurement Done(const std::string& position, int64_t length, int64_t span_end, double loss) {
    Measurement m;
    m.position = position;
    m.length = length;
    m.sample = {.span_end = span_end};
    m.resolved = position + ":resolved";
    m.losses = {loss, loss + 0.1};
    m.value = loss + 0.05;
    m.seconds = 1.5;
    return m;
  }
  std::string Refusal() { return std::string(Open().status().message()); }
  std::string Bytes() { return *ReadFile("", path_); }
  nlohmann::json Json() { return nlohmann::json::parse(Bytes()); }

  const std::string path_ = testing::TempDir() + "/result_file_test." + std::to_string(getpid()) + ".json";
  Identity identity_;
  RunInfo run_;
  std::vector<int64_t> spans_ = {300, 600, 900};
};

TEST_F(ResultFileTest, IsReadBackAsItWasWritten) {
  auto file = Open();
  ASSERT_TRUE(file.ok()) << file.status();
  Measurement all = Done("ntk", 128, 600, 2.5);
  all.reach = 128;
  all.past_recommended = all.refit = true;
  all.hits = "01";
  all.first_copy = 0.25;
  all.key = "12345";
  all.answer = " 12\"345\n";
  ASSERT_TRUE(file->Add(all).ok());
  file->Refuse({"linear", 128, "no, \"not\" so"});
  ASSERT_TRUE(file->Write().ok());
  const std::string before = Bytes();
  const auto again = Open();
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(Bytes(), before);
  EXPECT_TRUE(again->Has("ntk", 128, {.span_end = 600}));
  EXPECT_FALSE(again->Has("ntk", 128, {.span_end = 300}));
  EXPECT_EQ(again->refused()[0].message, "no, \"not\" so");
}

TEST_F(ResultFileTest, AStoppedRunComesToTheSameFile) {
  const std::vector<Measurement> all = {Done("none", 64, 300, 3.1), Done("none", 64, 600, 3.3),
                                        Done("ntk", 128, 300, 2.9), Done("ntk", 128, 600, 3.0)};
  {
    auto file = Open();
    for (const Measurement& m : all) ASSERT_TRUE(file->Add(m).ok());
  }
  const std::string whole = Bytes();
  std::filesystem::remove(path_);
  for (const Measurement& m : all) ASSERT_TRUE(Open()->Add(m).ok());
  EXPECT_EQ(Bytes(), whole);
}

TEST_F(ResultFileTest, SummarizesWithTheDifferenceToTheControl) {
  auto file = Open();
  for (const Measurement& m : {Done("none", 64, 300, 3.0), Done("none", 64, 600, 5.0), Done("ntk", 128, 300, 2.9),
                               Done("ntk", 128, 600, 4.8), Done("yarn", 256, 900, 2.0)}) {
    ASSERT_TRUE(file->Add(m).ok());
  }
  const nlohmann::json summary = Json().at("summary");
  ASSERT_EQ(summary.size(), 3u);
  EXPECT_NEAR(summary[0].at("mean").get<double>(), 4.05, 1e-9);
  EXPECT_NEAR(summary[1].at("difference").get<double>(), -0.15, 1e-9);
  EXPECT_NEAR(summary[1].at("difference_standard_error").get<double>(), 0.05, 1e-6);
  EXPECT_FALSE(summary[2].contains("difference"));  // no span is shared with the control
  EXPECT_TRUE(summary[2].at("standard_error").is_null());
}

TEST_F(ResultFileTest, RefusesWhatDoesNotBelongInOneTable) {
  ASSERT_TRUE(Open().ok());
  const Identity first = identity_;
  identity_.engine_fingerprint = "sha256:1/f32/f32";
  EXPECT_TRUE(absl::IsFailedPrecondition(Open().status()));
  EXPECT_THAT(Refusal(), HasSubstr("another engine_fingerprint: \"sha256:1/bf16/f16\" there, \"sha256:1/f32/f32\""));
  identity_ = first;
  identity_.text_sha256 = "def";
  EXPECT_THAT(Refusal(), HasSubstr("text_sha256"));
  identity_ = first;
  identity_.score_tokens = 3;
  EXPECT_THAT(Refusal(), HasSubstr("score_tokens: 2 there, 3 here"));
  identity_ = first;
  identity_.task = "passkey";
  EXPECT_THAT(Refusal(), HasSubstr("task"));
  identity_ = first;
  spans_ = {450, 900};
  EXPECT_THAT(Refusal(), HasSubstr("--spans"));
}

TEST_F(ResultFileTest, RunsOfFewerSpansShareTheFile) {
  ASSERT_TRUE(Open().ok());
  spans_ = {900};
  run_.command.push_back("--spans=1");
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(Json().at("spans").size(), 3u);
  EXPECT_EQ(Json().at("runs").size(), 2u);
}

TEST_F(ResultFileTest, RefusesAnotherPlanForTheSameMode) {
  auto file = Open();
  ASSERT_TRUE(file->Add(Done("auto", 128, 300, 3)).ok());
  Measurement other = Done("auto", 128, 600, 3);
  other.resolved = "yarn";
  EXPECT_TRUE(absl::IsFailedPrecondition(file->Add(other)));
}

TEST_F(ResultFileTest, AMeasurementTakesARefusalAway) {
  auto file = Open();
  file->Refuse({"ntk", 128, "too long"});
  ASSERT_TRUE(file->Write().ok());
  EXPECT_EQ(Json().at("refused").size(), 1u);
  ASSERT_TRUE(file->Add(Done("ntk", 128, 300, 3)).ok());
  EXPECT_TRUE(Json().at("refused").empty());
}

TEST_F(ResultFileTest, NeverWritesOverWhatIsNoResult) {
  for (const char* text : {"", "hello", "{}", "[1]", R"({"format": 3})", R"({"format": "longhaul-evaluation-1"})",
                           R"({"format": "longhaul-evaluation-1", "identity": {"task": "tail-loss"}})"}) {
    std::ofstream(path_) << text;
    EXPECT_TRUE(absl::IsFailedPrecondition(Open().status())) << text;
    EXPECT_EQ(Bytes(), text);
  }
}

TEST(Files, Sha256OfAbc) {
  EXPECT_EQ(Sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Files, AFolderThatIsNotThereIsAnError) {
  EXPECT_THAT(std::string(WriteFile("--csv", "/no/such/folder/x", "").message()),
              HasSubstr("--csv: cannot write /no/such/folder/x: No such file"));
  EXPECT_FALSE(ReadFile("--text", "/no/such/file").ok());
  EXPECT_FALSE(ReadFile("--text", "/tmp").ok());
}

}  // namespace
}  // namespace longhaul
