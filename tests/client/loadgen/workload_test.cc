#include "client/loadgen/workload.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace longhaul::loadgen {
namespace {

using ::testing::HasSubstr;

Lengths Parse(const std::string& text) {
  auto lengths = Lengths::Parse(text);
  EXPECT_TRUE(lengths.ok()) << text << ": " << lengths.status();
  return *std::move(lengths);
}

std::vector<int64_t> Draws(const std::string& text, int n = 20000) {
  const Lengths lengths = Parse(text);
  std::vector<int64_t> drawn;
  for (int i = 0; i < n; ++i) {
    Random random(3, Random::Purpose::kLengths, static_cast<uint64_t>(i));
    drawn.push_back(lengths.Draw(random));
  }
  return drawn;
}

double Mean(const std::vector<int64_t>& values) {
  double sum = 0;
  for (const int64_t value : values) sum += static_cast<double>(value);
  return sum / static_cast<double>(values.size());
}

TEST(LengthsTest, FixedIsAlwaysTheSame) {
  EXPECT_EQ(Draws("64", 5), std::vector<int64_t>(5, 64));
  EXPECT_EQ(Draws("fixed:7", 5), std::vector<int64_t>(5, 7));
}

TEST(LengthsTest, UniformReachesBothEnds) {
  const std::vector<int64_t> drawn = Draws("uniform:min=3,max=12");
  for (int64_t n = 3; n <= 12; ++n) EXPECT_NEAR(static_cast<double>(std::ranges::count(drawn, n)), 2000, 250) << n;
}

TEST(LengthsTest, LognormalHasTheMeanAndTheSpread) {
  const std::vector<int64_t> drawn = Draws("lognormal:mean=800,sigma=0.5");
  EXPECT_NEAR(Mean(drawn), 800, 15);
  std::vector<int64_t> sorted = drawn;
  std::ranges::sort(sorted);
  const double median = 800 * std::exp(-0.125);
  EXPECT_NEAR(static_cast<double>(sorted[10000]), median, 15);
  EXPECT_NEAR(static_cast<double>(sorted[16827]), median * std::exp(0.5), 40);  // one standard deviation above
  for (const int64_t n : Draws("lognormal:mean=100,sigma=2,min=10,max=200")) {
    EXPECT_GE(n, 10);
    EXPECT_LE(n, 200);
  }
}

TEST(LengthsTest, FileIsDrawnFrom) {
  const std::filesystem::path path = std::filesystem::temp_directory_path() / ("lengths-" + std::to_string(getpid()));
  std::ofstream(path) << "5\n\n 900 \n900\n";
  const std::vector<int64_t> drawn = Draws("file:" + path.string());
  EXPECT_EQ(std::set<int64_t>(drawn.begin(), drawn.end()), (std::set<int64_t>{5, 900}));
  EXPECT_NEAR(static_cast<double>(std::ranges::count(drawn, 5)), 20000.0 / 3, 300);
  std::ofstream(path) << "5\nfive\n";
  EXPECT_THAT(std::string(Lengths::Parse("file:" + path.string()).status().message()), HasSubstr("'five'"));
  std::filesystem::remove(path);
}

TEST(LengthsTest, SaysWhatIsWrong) {
  for (const char* wrong : {"", "0", "-3", "x", "1.5", "fixed:", "uniform:", "uniform:min=1", "uniform:min=9,max=3",
                            "uniform:min=1,max=2,mean=1", "lognormal:", "lognormal:sigma=1", "lognormal:mean=0",
                            "lognormal:mean=nan", "lognormal:mean=5,sigma=-1", "normal:mean=5", "file:/nonexistent"}) {
    EXPECT_FALSE(Lengths::Parse(wrong).ok()) << wrong;
  }
}

WorkloadOptions Options() {
  WorkloadOptions options;
  options.prompts = Parse("uniform:min=100,max=200");
  options.outputs = Parse("uniform:min=1,max=20");
  options.vocabulary = 1000;
  options.end_tokens = {0, 2};
  options.seed = 11;
  return options;
}

std::vector<int32_t> Ids(const PlannedRequest& planned) {
  const auto& ids = planned.request.prompt().token_ids().ids();
  return {ids.begin(), ids.end()};
}

TEST(WorkloadTest, LengthsAreExactAndRequestsAreFunctionsOfSeedAndNumber) {
  const Workload workload(Options());
  for (uint64_t i = 0; i < 50; ++i) {
    const PlannedRequest planned = workload.Make(i);
    EXPECT_EQ(std::ssize(Ids(planned)), planned.prompt_tokens);
    EXPECT_EQ(planned.request.stopping().max_tokens(), planned.output_tokens);
    EXPECT_TRUE(planned.request.stopping().ignore_eos());
    EXPECT_TRUE(planned.request.output().token_ids());
    EXPECT_FALSE(planned.request.has_position());
    for (const int32_t id : Ids(planned)) EXPECT_TRUE(id == 1 || (id > 2 && id < 1000)) << id;
    EXPECT_EQ(planned.request.SerializeAsString(), Workload(Options()).Make(i).request.SerializeAsString());
  }
  WorkloadOptions other = Options();
  other.seed = 12;
  EXPECT_NE(Ids(Workload(other).Make(0)), Ids(workload.Make(0)));
  EXPECT_NE(Ids(workload.Make(0)), Ids(workload.Make(1)));
}

TEST(WorkloadTest, SharedPrefixesAreSharedByTheirShare) {
  WorkloadOptions options = Options();
  options.shared_prefix = 0.3;
  options.shared_prefix_tokens = 64;
  const Workload workload(options);
  std::set<std::vector<int32_t>> beginnings, rests;
  for (uint64_t i = 0; i < 1000; ++i) {
    const std::vector<int32_t> ids = Ids(workload.Make(i));
    beginnings.insert({ids.begin(), ids.begin() + 64});
    rests.insert({ids.begin() + 64, ids.end()});
  }
  EXPECT_NEAR(static_cast<double>(1000 - beginnings.size() + 1), 300, 60);
  EXPECT_EQ(rests.size(), 1000u);

  options.shared_prefix = 1;
  options.shared_prefix_tokens = 5000;  // longer than every prompt
  const Workload all(options);
  EXPECT_NE(Ids(all.Make(0)), Ids(all.Make(1)));
  EXPECT_EQ(Ids(all.Make(0))[50], Ids(all.Make(1))[50]);
}

TEST(WorkloadTest, PositionsAndCancellationsHaveTheirShares) {
  WorkloadOptions options = Options();
  options.positions = *ParsePositionShares("none@1,rerope:window=64@3");
  options.cancel_share = 0.25;
  const Workload workload(options);
  int rerope = 0, cancelled = 0;
  for (uint64_t i = 0; i < 2000; ++i) {
    const PlannedRequest planned = workload.Make(i);
    rerope += planned.request.position().has_rerope() ? 1 : 0;
    EXPECT_EQ(planned.position, planned.request.position().has_rerope() ? "rerope:window=64" : "none");
    if (!planned.cancel_after.has_value()) continue;
    ++cancelled;
    EXPECT_GE(*planned.cancel_after, 1);
    EXPECT_LE(*planned.cancel_after, planned.output_tokens);
  }
  EXPECT_NEAR(rerope, 1500, 100);
  EXPECT_NEAR(cancelled, 500, 100);
}

TEST(WorkloadTest, QuestionsOverDocumentsHaveTheirShareAndDrawFromThePool) {
  WorkloadOptions options = Options();
  options.nbce_share = 0.3;
  options.documents = Parse("uniform:min=2,max=30");
  options.document_tokens = Parse("uniform:min=5,max=50");
  options.document_pool = 20;
  const Workload workload(options);
  std::map<std::string, std::string> pool;  // id -> what it says
  int asked = 0;
  for (uint64_t i = 0; i < 1000; ++i) {
    const PlannedRequest planned = workload.Make(i);
    if (!planned.request.has_contexts()) continue;
    ++asked;
    const auto& documents = planned.request.contexts().documents().documents();
    EXPECT_EQ(documents.size(), planned.documents);
    EXPECT_LE(documents.size(), 20);
    EXPECT_GE(documents.size(), 2);
    std::set<std::string> ids;
    for (const v1::Document& document : documents) {
      EXPECT_TRUE(ids.insert(document.id()).second);
      EXPECT_EQ(pool.emplace(document.id(), document.SerializeAsString()).first->second, document.SerializeAsString());
      EXPECT_GE(document.token_ids().ids_size(), 5);
      EXPECT_LE(document.token_ids().ids_size(), 50);
    }
  }
  EXPECT_NEAR(asked, 300, 60);
  EXPECT_EQ(pool.size(), 20u);
}

TEST(WorkloadTest, TracesAreFollowed) {
  WorkloadOptions options = Options();
  options.trace = *ParseTrace(
      "{\"at\": 0, \"prompt_tokens\": 1200, \"output_tokens\": 9, \"hash_ids\": [1, 2, 3]}\n"
      "{\"at\": 1, \"prompt_tokens\": 1300, \"position\": \"yarn\", \"hash_ids\": [1, 7]}\n");
  const Workload workload(options);
  const std::vector<int32_t> first = Ids(workload.Make(0)), second = Ids(workload.Make(1));
  EXPECT_EQ(first.size(), 1200u);
  EXPECT_EQ(second.size(), 1300u);
  EXPECT_EQ(workload.Make(0).output_tokens, 9);
  EXPECT_TRUE(workload.Make(1).request.position().has_yarn());
  EXPECT_TRUE(std::equal(first.begin(), first.begin() + 512, second.begin()));
  EXPECT_FALSE(std::equal(first.begin() + 512, first.begin() + 1024, second.begin() + 512));
  EXPECT_LE(workload.Make(2).prompt_tokens, 200) << "after its end, as without one";
}

}  // namespace
}  // namespace longhaul::loadgen
