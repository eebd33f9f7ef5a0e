#include "engine/request/event_stream.h"

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

namespace longhaul {
namespace {

Chunk Text(const char* text) {
  return Chunk{.text = text, .tokens = {}};
}

TEST(EventStream, GivesEventsInOrderAndEndsAfterFinished) {
  EventStream stream(8, nullptr);
  EXPECT_FALSE(stream.TryNext().has_value());
  stream.Push(Text("a"));
  stream.Push(Text("b"));
  stream.Push(Finished{});
  EXPECT_EQ(std::get<Chunk>(*stream.Next()).text, "a");
  EXPECT_EQ(std::get<Chunk>(*stream.Next()).text, "b");
  EXPECT_TRUE(std::holds_alternative<Finished>(*stream.Next()));
  EXPECT_FALSE(stream.Next().has_value());
}

TEST(EventStream, SaysReadyOnlyWhenEventsAppearInAnEmptyQueue) {
  int ready = 0;
  EventStream stream(8, [&](bool more) {
    EXPECT_FALSE(more);
    ++ready;
  });
  stream.Push(Text("a"));
  stream.Push(Text("b"));
  EXPECT_EQ(ready, 1);
  stream.TryNext();
  stream.TryNext();
  stream.Push(Text("c"));
  EXPECT_EQ(ready, 2);
}

TEST(EventStream, SaysReadyAgainWhenTheEndComesBehindOthers) {
  int ready = 0;
  EventStream stream(8, [&](bool) { ++ready; });
  stream.Push(Text("a"));
  EXPECT_FALSE(stream.ended());
  stream.Push(Finished{});
  EXPECT_EQ(ready, 2);
  EXPECT_TRUE(stream.ended());
}

TEST(EventStream, TellsWhatItsEventsTake) {
  EventStream stream(8, nullptr);
  EXPECT_EQ(stream.UnreadBytes(), 0);
  stream.Push(Text("a"));
  const int64_t small = stream.UnreadBytes();
  EXPECT_GE(small, static_cast<int64_t>(sizeof(Event)));
  ScoreChunk scores;
  scores.tokens.resize(100, {.logprob = 0, .top = std::vector<TokenLogprob>(20)});
  const Event large = scores;
  stream.Push(Event(large));
  EXPECT_EQ(stream.UnreadBytes(), small + MemoryOf(large));
  EXPECT_GE(MemoryOf(large), static_cast<int64_t>(100 * 20 * sizeof(TokenLogprob)));
  EXPECT_GE(MemoryOf(Chunk{.text = std::string(1000, 'x'), .entropies = {std::vector<float>(500)}}), 3000);
  stream.TryNext();
  stream.TryNext();
  EXPECT_EQ(stream.UnreadBytes(), 0);
}

TEST(EventStream, APushThatIsQuietLeavesTheTellingToThePusher) {
  int ready = 0;
  EventStream stream(8, [&](bool more) {
    EXPECT_TRUE(more);
    ++ready;
  });
  EXPECT_TRUE(stream.PushQuietly(Text("a")));
  EXPECT_FALSE(stream.PushQuietly(Text("b")));
  EXPECT_EQ(ready, 0);
  stream.TellReader(/*more=*/true);
  EXPECT_EQ(ready, 1);
}

TEST(EventStream, HasNoRoomWhileFullAndSaysWhenThereIsAgain) {
  int room = 0;
  EventStream stream(8, nullptr);
  stream.SetOnRoom([&] { ++room; });
  for (int i = 0; i < 5; ++i) stream.Push(Text("x"));
  EXPECT_FALSE(stream.HasRoom());
  stream.TryNext();
  EXPECT_TRUE(stream.HasRoom());
  EXPECT_EQ(room, 1);
  stream.TryNext();
  EXPECT_EQ(room, 1);
}

TEST(EventStream, CarriesEverythingBetweenTwoThreads) {
  constexpr int kEvents = 20000;
  EventStream stream(64, nullptr);
  std::thread writer([&] {
    for (int i = 0; i < kEvents; ++i) stream.Push(ScoreChunk{.first_token = i, .tokens = {}});
    stream.Push(Finished{});
  });
  int next = 0;
  while (auto event = stream.Next()) {
    const auto* chunk = std::get_if<ScoreChunk>(&*event);
    if (chunk == nullptr) continue;
    EXPECT_EQ(chunk->first_token, next++);
  }
  EXPECT_EQ(next, kEvents);
  writer.join();
}

}  // namespace
}  // namespace longhaul
