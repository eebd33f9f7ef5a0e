#include "client/evaluation/documents.h"

#include <gmock/gmock.h>

namespace longhaul {
namespace {

using ::testing::HasSubstr;

v1::Finished Used(const std::vector<uint64_t>& tokens) {
  v1::Finished finished;
  for (const uint64_t n : tokens) finished.add_documents()->set_tokens(n);
  return finished;
}

TEST(Documents, AnAnswerCountsWhereverItStands) {
  EXPECT_TRUE(Documents::IsAnswered("It was built by Tavorek.", "Tavorek"));
  EXPECT_TRUE(Documents::IsAnswered("TAVOREK", "Tavorek"));
  EXPECT_TRUE(Documents::IsAnswered(" 4812 books", "4812"));
  EXPECT_FALSE(Documents::IsAnswered("4,812 books", "4812"));
  EXPECT_FALSE(Documents::IsAnswered("Tavor", "Tavorek"));
  EXPECT_FALSE(Documents::IsAnswered("", "Tavorek"));
}

TEST(Documents, TheDocumentOfMostTokensIsTheCitedOne) {
  EXPECT_EQ(Documents::Cited(Used({1, 5, 4})), 1);
  EXPECT_EQ(Documents::Cited(Used({2, 3, 3})), 1);
  EXPECT_EQ(Documents::Cited(Used({7})), 0);
}

TEST(Documents, SettingsAreReadByName) {
  const auto settings = ParseNbceSettings("default,beta=0.5,eta=0:keep=0.8,default,pooling=mean");
  ASSERT_TRUE(settings.ok()) << settings.status();
  ASSERT_EQ(settings->size(), 4u);
  EXPECT_EQ((*settings)[0].first, "nbce");
  EXPECT_FALSE((*settings)[0].second.has_beta());
  EXPECT_EQ((*settings)[1].first, "nbce:beta=0.5");
  EXPECT_FLOAT_EQ((*settings)[1].second.beta(), 0.5F);
  EXPECT_EQ((*settings)[2].first, "nbce:eta=0:keep=0.8");
  EXPECT_TRUE((*settings)[2].second.has_eta());
  EXPECT_FLOAT_EQ((*settings)[2].second.top_p(), 0.8F);
  EXPECT_EQ((*settings)[3].second.pooling(), v1::POOLING_MEAN);
  EXPECT_TRUE(ParseNbceSettings("")->empty());
  for (const char* wrong : {"gamma=1", "beta", "beta=x", "pooling=most", "default:beta=1"}) {
    EXPECT_THAT(std::string(ParseNbceSettings(wrong).status().message()), HasSubstr("--nbce: '")) << wrong;
  }
}

TEST(Documents, TakesAsManyAsItCanWrite) {
  const Documents task({.questions = 50, .seed = 0, .nbce = {}}, {0, 64});
  EXPECT_TRUE(task.CheckLength(0).ok());
  EXPECT_TRUE(task.CheckLength(64).ok());
  EXPECT_THAT(std::string(task.CheckLength(kMaxShelfDocuments * 2).message()), HasSubstr("--documents: 8192"));
  EXPECT_EQ(task.Repetitions().size(), 50u);
  EXPECT_NE(task.Sha256(), Documents({.questions = 50, .seed = 1, .nbce = {}}, {0, 64}).Sha256());
  EXPECT_EQ(task.Sha256(), Documents({.questions = 3, .seed = 0, .nbce = {}}, {1}).Sha256());
}

}  // namespace
}  // namespace longhaul
