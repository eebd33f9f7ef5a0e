#include "engine/running/request_registry.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace longhaul {
namespace {

using std::chrono::seconds;

class RequestRegistryTest : public ::testing::Test {
 protected:
  std::shared_ptr<RequestRecord> Add(const std::string& id, const std::string& client = "c", int priority = 0) {
    Request request;
    request.id = id;
    request.client = client;
    request.priority = priority;
    request.params = ScoreParams{.prompt = TextPrompt{"x"}, .position = {.kind = position::Rerope{64}}};
    streams_.push_back(std::make_shared<EventStream>(64, nullptr));
    auto record = registry_.Add(request, streams_.back(), now_, 1);
    return record.ok() ? *record : nullptr;
  }

  const Clock::time_point now_ = Clock::now();
  RequestRegistry registry_{{3, 100}};
  std::vector<std::shared_ptr<EventStream>> streams_;
};

TEST_F(RequestRegistryTest, ListsARequestFromItsArrivalToItsEnd) {
  auto record = Add("r", "c", 7);
  std::vector<RequestInfo> all = registry_.List(now_ + seconds(3));
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].id, "r");
  EXPECT_EQ(all[0].client, "c");
  EXPECT_EQ(all[0].priority, 7);
  EXPECT_EQ(all[0].age, 3);
  EXPECT_EQ(all[0].rows, 0);
  EXPECT_EQ(all[0].progress.phase, RequestPhase::kWaiting);
  EXPECT_STREQ(Name(all[0].position), "rerope");

  EXPECT_TRUE(record->Enqueue({.kind = position::None()}, 2, 50, 1).ok());
  EXPECT_EQ(registry_.queued_tokens(), 50);
  record->LeaveQueue();
  EXPECT_EQ(registry_.queued_tokens(), 0);
  record->SetProgress({RequestPhase::kDecode, 50, 4, 9});
  all = registry_.List(now_);
  EXPECT_EQ(all[0].rows, 2);
  EXPECT_EQ(all[0].prompt_tokens, 50);
  EXPECT_EQ(all[0].progress.phase, RequestPhase::kDecode);
  EXPECT_EQ(all[0].progress.tokens_read, 50);
  EXPECT_EQ(all[0].progress.tokens_generated, 4);
  EXPECT_EQ(all[0].progress.blocks, 9);
  EXPECT_STREQ(Name(all[0].position), "none");

  record.reset();
  EXPECT_TRUE(registry_.List(now_).empty());
}

TEST_F(RequestRegistryTest, KeepsTheOrderOfArrival) {
  const auto first = Add("1");
  auto second = Add("2");
  const auto third = Add("3");
  second.reset();
  const auto fourth = Add("4");
  std::string ids;
  for (const RequestInfo& info : registry_.List(now_)) ids += info.id;
  EXPECT_EQ(ids, "134");
}

TEST_F(RequestRegistryTest, GivesAClientsShareBackWithTheRecord) {
  auto first = Add("1");
  const auto second = Add("2"), third = Add("3");
  EXPECT_EQ(Add("4"), nullptr);
  EXPECT_TRUE(first->Enqueue({}, 1, 100, 1).ok());
  EXPECT_FALSE(second->Enqueue({}, 1, 1, 1).ok());
  first.reset();  // still in the queue
  EXPECT_EQ(registry_.queued_tokens(), 0);
  EXPECT_TRUE(second->Enqueue({}, 1, 1, 1).ok());
  EXPECT_NE(Add("4"), nullptr);
}

TEST_F(RequestRegistryTest, CancelsAllOfAnIdOnce) {
  const auto a = Add("a", "x"), b = Add("b", "x"), a_again = Add("a", "y");
  EXPECT_EQ(registry_.Cancel("a"), 2);
  EXPECT_TRUE(streams_[0]->cancelled());
  EXPECT_FALSE(streams_[1]->cancelled());
  EXPECT_TRUE(streams_[2]->cancelled());
  EXPECT_EQ(registry_.Cancel("a"), 0);
  EXPECT_EQ(registry_.Cancel("c"), 0);
}

TEST_F(RequestRegistryTest, IsLookedAtWhileOthersWork) {
  std::atomic<bool> done{false};
  std::thread looking([&] {
    while (!done) {
      for (const RequestInfo& info : registry_.List(Clock::now())) {
        EXPECT_EQ(info.id, info.client);
        registry_.Cancel(info.id);
      }
    }
  });
  std::vector<std::thread> working;
  for (const std::string name : {"p", "q"}) {
    working.emplace_back([this, name] {
      Request request;
      request.id = request.client = name;
      request.params = ScoreParams();
      for (int i = 0; i < 2000; ++i) {
        const auto record = registry_.Add(request, std::make_shared<EventStream>(4, nullptr), now_, 1);
        ASSERT_TRUE(record.ok());
        ASSERT_TRUE((*record)->Enqueue({}, 1, 60, 1).ok());
        if (i % 2 == 0) (*record)->LeaveQueue();
        (*record)->SetProgress({RequestPhase::kPrefill, i, 0, i});
      }
    });
  }
  for (std::thread& thread : working) thread.join();
  done = true;
  looking.join();
  EXPECT_EQ(registry_.queued_tokens(), 0);
  EXPECT_TRUE(registry_.List(now_).empty());
}

}  // namespace
}  // namespace longhaul
