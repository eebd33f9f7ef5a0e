#include "server/health/health_session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

namespace longhaul {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

const std::vector<std::string> kServices = {"", "known"};
constexpr HealthSession::TimePoint kNow{};

std::string RequestFor(const std::string& service) {
  return service.empty() ? "" : std::string("\x0a") + static_cast<char>(service.size()) + service;
}
std::string Framed(const std::string& message) {
  return std::string({0, 0, 0, static_cast<char>(message.size() >> 8), static_cast<char>(message.size())}) + message;
}

// A client of nghttp2, connected to a session by nothing but strings.
class Client {
 public:
  struct Call {
    std::string unsent;     // of the request
    std::vector<int> told;  // the statuses of HealthCheckResponse
    std::string grpc_status;
    bool closed = false;
    uint32_t error = 0;
  };

  explicit Client(HealthSession& server) : server_(server) {
    nghttp2_session_callbacks* callbacks = nullptr;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(
        callbacks, [](nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name, size_t name_size,
                      const uint8_t* value, size_t value_size, uint8_t, void* self) {
          if (std::string(name, name + name_size) == "grpc-status") {
            static_cast<Client*>(self)->calls_[frame->hd.stream_id].grpc_status.assign(value, value + value_size);
          }
          return 0;
        });
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
        callbacks, [](nghttp2_session*, uint8_t, int32_t id, const uint8_t* data, size_t size, void* self) {
          EXPECT_EQ(size, 7u);
          static_cast<Client*>(self)->calls_[id].told.push_back(data[size - 1]);
          return 0;
        });
    nghttp2_session_callbacks_set_on_stream_close_callback(
        callbacks, [](nghttp2_session*, int32_t id, uint32_t error, void* self) {
          static_cast<Client*>(self)->calls_[id].closed = true;
          static_cast<Client*>(self)->calls_[id].error = error;
          return 0;
        });
    nghttp2_session_callbacks_set_on_frame_recv_callback(
        callbacks, [](nghttp2_session*, const nghttp2_frame* frame, void* self) {
          if (frame->hd.type == NGHTTP2_GOAWAY) static_cast<Client*>(self)->goaway_ = frame->goaway.error_code;
          return 0;
        });
    nghttp2_session_client_new(&session_, callbacks, this);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, nullptr, 0);
  }
  ~Client() { nghttp2_session_del(session_); }

  // Sends a call; `body` is what its DATA holds. The stream's id.
  int32_t Start(const std::string& path, const std::string& body, const std::string& extra = "") {
    const auto header = [](std::string_view name, std::string_view value) {
      return nghttp2_nv{reinterpret_cast<uint8_t*>(const_cast<char*>(name.data())),
                        reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(),
                        NGHTTP2_NV_FLAG_NONE};
    };
    const std::vector<nghttp2_nv> headers = {header(":method", "POST"),
                                             header(":scheme", "http"),
                                             header(":authority", "here"),
                                             header(":path", path),
                                             header("content-type", "application/grpc+proto"),
                                             header("x-extra", extra)};
    nghttp2_data_provider provider{};
    provider.read_callback = [](nghttp2_session*, int32_t id, uint8_t* buffer, size_t size, uint32_t* flags,
                                nghttp2_data_source*, void* self) {
      std::string& unsent = static_cast<Client*>(self)->calls_[id].unsent;
      const size_t n = unsent.copy(reinterpret_cast<char*>(buffer), size);
      unsent.erase(0, n);
      if (unsent.empty()) *flags |= NGHTTP2_DATA_FLAG_EOF;
      return static_cast<ssize_t>(n);
    };
    const int32_t id = nghttp2_submit_request(session_, nullptr, headers.data(), headers.size(), &provider, nullptr);
    calls_[id].unsent = body;
    Talk();
    return id;
  }

  void Reset(int32_t id) { nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL); }

  // Carries bytes to and fro until both are silent.
  void Talk() {
    for (bool more = true; more;) {
      more = false;
      const uint8_t* data = nullptr;
      while (const ssize_t n = nghttp2_session_mem_send(session_, &data)) {
        Send({reinterpret_cast<const char*>(data), static_cast<size_t>(n)});
        more = true;
      }
      std::string out;
      server_.AppendOutput(out);
      more |= !out.empty();
      nghttp2_session_mem_recv(session_, reinterpret_cast<const uint8_t*>(out.data()), out.size());
    }
  }
  void Send(std::string_view bytes) { server_.Receive(bytes, kNow); }

  const Call& call(int32_t id) { return calls_[id]; }
  int64_t goaway() const { return goaway_; }

 private:
  HealthSession& server_;
  nghttp2_session* session_ = nullptr;
  std::map<int32_t, Call> calls_;
  int64_t goaway_ = -1;
};

class HealthSessionTest : public ::testing::Test {
 protected:
  const Client::Call& Check(const std::string& service) {
    return client_.call(client_.Start("/grpc.health.v1.Health/Check", Framed(RequestFor(service))));
  }
  int32_t Watch(const std::string& service) {
    return client_.Start("/grpc.health.v1.Health/Watch", Framed(RequestFor(service)));
  }

  HealthSession server_{kServices, /*serving=*/false};
  Client client_{server_};
};

TEST_F(HealthSessionTest, ChecksWhatItKnows) {
  for (const std::string& service : kServices) {
    const Client::Call& call = Check(service);
    EXPECT_THAT(call.told, ElementsAre(2));
    EXPECT_EQ(call.grpc_status, "0");
    EXPECT_TRUE(call.closed);
  }
  server_.SetServing(true);
  EXPECT_THAT(Check("known").told, ElementsAre(1));
  EXPECT_TRUE(server_.has_answered());
}

TEST_F(HealthSessionTest, SaysWhatItDoesNotKnow) {
  const Client::Call& call = Check("unknown");
  EXPECT_THAT(call.told, IsEmpty());
  EXPECT_EQ(call.grpc_status, "5");
  EXPECT_EQ(client_.call(client_.Start("/grpc.health.v1.Health/List", Framed(""))).grpc_status, "12");
  EXPECT_EQ(client_.call(client_.Start("/grpc.health.v1.Health/Check", Framed("\x0a\x05x"))).grpc_status, "3");
  EXPECT_EQ(client_.call(client_.Start("/grpc.health.v1.Health/Check", "")).grpc_status, "3");
  EXPECT_EQ(client_.call(client_.Start("/grpc.health.v1.Health/Check", "\x01" + Framed("").substr(1))).grpc_status,
            "12");
  EXPECT_FALSE(server_.has_answered());
}

TEST_F(HealthSessionTest, SkipsFieldsThatItDoesNotKnow) {
  const std::string later = RequestFor("known") + "\x10\x01\x1a\x02hi";
  EXPECT_THAT(client_.call(client_.Start("/grpc.health.v1.Health/Check", Framed(later))).told, ElementsAre(2));
}

TEST_F(HealthSessionTest, TellsThoseWhoWatchOfEachChange) {
  const int32_t known = Watch("known"), unknown = Watch("unknown");
  EXPECT_TRUE(server_.watched());
  for (const bool serving : {true, true, false}) {
    server_.SetServing(serving);
    client_.Talk();
  }
  EXPECT_THAT(client_.call(known).told, ElementsAre(2, 1, 2));
  EXPECT_THAT(client_.call(unknown).told, ElementsAre(3));
  EXPECT_FALSE(client_.call(known).closed);
  for (const int32_t id : {known, unknown}) client_.Reset(id);
  client_.Talk();
  EXPECT_FALSE(server_.watched());
  server_.SetServing(true);
}

TEST_F(HealthSessionTest, TellsASlowReaderTheLastStateAlone) {
  const int32_t id = Watch("");
  server_.SetServing(true);
  server_.SetServing(false);
  server_.SetServing(true);
  client_.Talk();
  EXPECT_THAT(client_.call(id).told, ElementsAre(2, 1));
}

TEST_F(HealthSessionTest, RefusesLargeMessagesAndHeaders) {
  EXPECT_EQ(Check(std::string(100, 'x')).grpc_status, "5");
  const std::string large(2000, 'x');
  EXPECT_EQ(client_.call(client_.Start("/grpc.health.v1.Health/Check", Framed(large))).grpc_status, "8");
  const Client::Call& call =
      client_.call(client_.Start("/grpc.health.v1.Health/Check", Framed(""), std::string(9000, 'x')));
  EXPECT_TRUE(call.closed);
  EXPECT_NE(call.error, NGHTTP2_NO_ERROR);
  EXPECT_EQ(Check("").grpc_status, "0") << "the connection goes on";
}

TEST_F(HealthSessionTest, BoundsTheStreamsOfAConnection) {
  std::vector<int32_t> ids;
  for (int i = 0; i < 40; ++i) ids.push_back(Watch(""));
  server_.SetServing(true);
  client_.Talk();
  EXPECT_THAT(client_.call(ids[31]).told, SizeIs(2));
  EXPECT_THAT(client_.call(ids[32]).told, IsEmpty()) << "nghttp2's client waits until one of the others has ended";
}

TEST_F(HealthSessionTest, EndsWithAClientWhoseFramesComeToNothing) {
  client_.Talk();
  constexpr char kPriority[] = "\0\0\5\2\0\0\0\0\3\0\0\0\0\x10";
  for (int i = 0; i < 990; ++i) client_.Send({kPriority, sizeof(kPriority) - 1});
  EXPECT_EQ(Check("").grpc_status, "0");
  for (int i = 0; i < 20; ++i) client_.Send({kPriority, sizeof(kPriority) - 1});
  client_.Talk();
  EXPECT_EQ(client_.goaway(), NGHTTP2_ENHANCE_YOUR_CALM);
  EXPECT_TRUE(server_.over());
}

TEST_F(HealthSessionTest, IsOverWithWhatIsNoHttp2) {
  client_.Send("GET / HTTP/1.1\r\n\r\n");
  EXPECT_TRUE(server_.over());
}

TEST_F(HealthSessionTest, SaysGoodBye) {
  EXPECT_EQ(Check("").grpc_status, "0");
  EXPECT_FALSE(server_.over());
  server_.End();
  client_.Talk();
  EXPECT_EQ(client_.goaway(), NGHTTP2_NO_ERROR);
  EXPECT_TRUE(server_.over());
}

}  // namespace
}  // namespace longhaul
