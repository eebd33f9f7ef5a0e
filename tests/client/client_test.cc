// The client library against a real server with a tiny model, in one process.

#include "client/client.h"

#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "engine/engine.h"
#include "server/server.h"
#include "tests/support/gguf_writer.h"

namespace longhaul {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;

class ClientTest : public ::testing::Test {
 protected:
  ClientTest() {
    auto server = Server::Start({.listen = "127.0.0.1:0"});
    EXPECT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    target_ = "127.0.0.1:" + std::to_string(server_->port());
    client_ = std::make_unique<Client>(target_);
  }
  ~ClientTest() override {
    server_.reset();
    engine_.reset();
    std::filesystem::remove(path_);
  }

  void Load() {
    path_ = std::filesystem::temp_directory_path() / ("longhaul-client-" + std::to_string(getpid()) + ".gguf");
    const std::vector<std::byte> bytes = TinyModel({.context_length = 100000}).Build();
    std::ofstream(path_, std::ios::binary).write(reinterpret_cast<const char*>(bytes.data()), std::ssize(bytes));
    EngineOptions options;
    options.model_path = path_;
    options.threads = 1;
    options.kv_cache_bytes = 16 << 20;
    auto engine = Engine::Create(options);
    ASSERT_TRUE(engine.ok()) << engine.status();
    engine_ = *std::move(engine);
    server_->Serve(*engine_);
  }

  // What grpc.health.v1 says: the raw message, field 1, SERVING 1 and NOT_SERVING 2.
  int Health() {
    const auto channel = grpc::CreateChannel(target_, grpc::InsecureChannelCredentials());
    grpc::ClientContext context;
    grpc::CompletionQueue queue;
    grpc::GenericStub stub(channel);
    const grpc::Slice empty;
    const grpc::ByteBuffer request(&empty, 1);
    const auto call = stub.PrepareUnaryCall(&context, "/grpc.health.v1.Health/Check", request, &queue);
    grpc::ByteBuffer response;
    grpc::Status status;
    call->StartCall();
    call->Finish(&response, &status, nullptr);
    void* tag = nullptr;
    bool ok = false;
    queue.Next(&tag, &ok);
    EXPECT_TRUE(status.ok()) << status.error_message();
    grpc::Slice slice;
    EXPECT_TRUE(response.DumpToSingleSlice(&slice).ok());
    return slice.size() == 2 ? slice.begin()[1] : -1;
  }

  static v1::GenerateRequest Tokens(uint32_t max_tokens) {
    v1::GenerateRequest request;
    request.mutable_prompt()->mutable_token_ids()->add_ids(3);
    request.mutable_stopping()->set_max_tokens(max_tokens);
    request.mutable_stopping()->set_ignore_eos(true);
    request.mutable_output()->set_token_ids(true);
    return request;
  }

  std::filesystem::path path_;
  std::string target_;
  std::unique_ptr<Server> server_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Client> client_;
};
constexpr int kServing = 1, kNotServing = 2;

TEST_F(ClientTest, AServerThatLoadsSaysSo) {
  EXPECT_EQ(Health(), kNotServing);
  EXPECT_EQ(client_->Model({}).status().code(), absl::StatusCode::kUnavailable);
  v1::TokenizeRequest tokenize;
  tokenize.mutable_prompt()->set_text("a");
  EXPECT_EQ(client_->Tokenize(tokenize, {}).status().code(), absl::StatusCode::kUnavailable);
  const absl::Status status = client_->Generate(Tokens(1), {}, [](const auto&) { return true; });
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr("loaded"));
  Load();
  EXPECT_EQ(Health(), kServing);
  EXPECT_TRUE(client_->Model({}).ok());
}

TEST_F(ClientTest, EveryCallAnswers) {
  Load();
  int tokens = 0;
  bool finished = false;
  EXPECT_TRUE(client_
                  ->Generate(Tokens(5), {.timeout_seconds = 60, .request_id = "one"},
                             [&](const v1::GenerateResponse& message) {
                               tokens += message.chunk().token_ids_size();
                               finished = finished || message.has_finished();
                               return true;
                             })
                  .ok());
  EXPECT_EQ(tokens, 5);
  EXPECT_TRUE(finished);

  v1::ScoreRequest score;
  for (int id : {3, 4, 5}) score.mutable_prompt()->mutable_token_ids()->add_ids(id);
  int scores = 0;
  EXPECT_TRUE(client_
                  ->Score(score, {},
                          [&](const v1::ScoreResponse& message) {
                            scores += message.scores().logprobs_size();
                            return true;
                          })
                  .ok());
  EXPECT_EQ(scores, 2);

  v1::DetokenizeRequest detokenize;
  detokenize.mutable_token_ids()->add_ids(3);
  const auto text = client_->Detokenize(detokenize, {});
  ASSERT_TRUE(text.ok()) << text.status();
  v1::TokenizeRequest tokenize;
  tokenize.mutable_prompt()->set_text(text->text());
  const auto ids = client_->Tokenize(tokenize, {});
  ASSERT_TRUE(ids.ok()) << ids.status();
  EXPECT_GT(ids->ids_size(), 0);
}

TEST_F(ClientTest, SeesAndEndsARequest) {
  v1::CancelRequestRequest cancel;
  cancel.set_id("mine");
  EXPECT_EQ(client_->ListRequests({}).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(client_->CancelRequest(cancel, {}).status().code(), absl::StatusCode::kUnavailable);
  Load();
  EXPECT_EQ(client_->ListRequests({})->requests_size(), 0);
  EXPECT_EQ(client_->CancelRequest(cancel, {})->cancelled(), 0u);
  const absl::Status status = client_->Generate(Tokens(20000), {.timeout_seconds = 0, .request_id = "mine"},
                                                [&](const v1::GenerateResponse& message) {
                                                  if (!message.has_started()) return true;
                                                  Client admin(target_);
                                                  const auto list = admin.ListRequests({});
                                                  EXPECT_TRUE(list.ok()) << list.status();
                                                  EXPECT_EQ(list->requests_size(), 1);
                                                  EXPECT_EQ(list->requests(0).id(), "mine");
                                                  EXPECT_EQ(list->requests(0).client(), "127.0.0.1");
                                                  EXPECT_EQ(admin.CancelRequest(cancel, {})->cancelled(), 1u);
                                                  return true;
                                                });
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
}

TEST_F(ClientTest, RefusesOptionsThatCannotBeSent) {
  Load();
  for (const CallOptions& options : {CallOptions{-1, ""}, CallOptions{std::nan(""), ""}, CallOptions{0, "a\nb"},
                                     CallOptions{0, std::string(129, 'x')}, CallOptions{0, "caf\xc3\xa9"}}) {
    EXPECT_EQ(client_->Model(options).status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(client_->Generate(Tokens(1), options, [](const auto&) { return true; }).code(),
              absl::StatusCode::kInvalidArgument);
  }
  for (const double never : {0.0, 1e9, 1e13, 1e300, HUGE_VAL}) EXPECT_TRUE(client_->Model({never, ""}).ok()) << never;
}

TEST_F(ClientTest, CancelsFromTheCallbackAndFromAnotherThread) {
  Load();
  EXPECT_EQ(client_->Generate(Tokens(20000), {}, [](const auto&) { return false; }).code(),
            absl::StatusCode::kCancelled);
  EXPECT_EQ(client_
                ->Generate(Tokens(20000), {},
                           [&](const auto&) {
                             std::thread([&] { client_->Cancel(); }).join();
                             return true;
                           })
                .code(),
            absl::StatusCode::kCancelled);
  EXPECT_TRUE(client_->Model({}).ok());
}

TEST_F(ClientTest, SeesADrainToItsEnd) {
  Load();
  // The request waits to be read until the drain has begun.
  std::promise<void> begun;
  const std::shared_future<void> has_begun = begun.get_future();
  for (int i = 0; i < 8; ++i) EXPECT_TRUE(engine_->RunOnTextPool([has_begun] { has_begun.wait(); }).ok());
  int tokens = 0;
  auto answer = std::async(std::launch::async, [&] {
    return client_->Generate(Tokens(100), {}, [&](const v1::GenerateResponse& message) {
      tokens += message.chunk().token_ids_size();
      return true;
    });
  });
  while (engine_->Stats().waiting == 0) std::this_thread::sleep_for(milliseconds(1));
  EXPECT_EQ(Health(), kServing);
  auto drained = std::async(std::launch::async, [&] { return server_->Drain(milliseconds(60000)); });
  while (Health() != kNotServing) std::this_thread::sleep_for(milliseconds(1));
  absl::Status late;
  do {
    late = client_->Generate(Tokens(1), {.timeout_seconds = 0.2, .request_id = ""}, [](const auto&) { return true; });
  } while (late.code() == absl::StatusCode::kDeadlineExceeded);  // before the engine was told
  EXPECT_EQ(late.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(late.message()), HasSubstr("shutting down"));
  begun.set_value();
  EXPECT_TRUE(answer.get().ok());
  EXPECT_EQ(tokens, 100);
  EXPECT_TRUE(drained.get());
}

TEST_F(ClientTest, IsToldToTryAgainWhenTheServerGoesAway) {
  Load();
  const absl::Status status =
      client_->Generate(Tokens(90000), {.timeout_seconds = 60, .request_id = ""}, [&](const auto& message) {
        if (message.has_started()) server_.reset();
        EXPECT_TRUE(!message.has_finished() || message.finished().reason() == v1::FINISH_REASON_UNAVAILABLE);
        return true;
      });
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr("shutting down"));
}

TEST(ClientWithoutServer, IsUnavailable) {
  EXPECT_EQ(Client("127.0.0.1:1").Model({}).status().code(), absl::StatusCode::kUnavailable);
}

TEST(ServerStart, AnAddressInUseIsAStatus) {
  const auto first = Server::Start({.listen = "127.0.0.1:0"});
  ASSERT_TRUE(first.ok());
  const auto second = Server::Start({.listen = "127.0.0.1:" + std::to_string((*first)->port())});
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(second.status().message()), HasSubstr("--listen"));
}

}  // namespace
}  // namespace longhaul
