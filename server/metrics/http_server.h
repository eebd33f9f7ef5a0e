#pragma once

#include <microhttpd.h>

#include <chrono>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "server/sockets/acceptor.h"
#include "server/sockets/descriptor.h"

namespace longhaul {

struct HttpAnswer {
  unsigned status = 200;
  std::string content_type;
  std::string body;
};

struct HttpLimits {
  // That have not asked yet, at most an eighth of the process's descriptors. Where there are more, the oldest are
  // closed: others ask at once.
  size_t connections = 512;
  // Answers that their clients have not taken whole, the oldest of which are cut short.
  size_t unread_answers = 32;
  // Of a connection, from accepting it to the end of its answer.
  std::chrono::milliseconds time{10'000};
};

// Answers one GET or HEAD for each HTTP connection, on one thread that no client can block: not by connecting and
// sending nothing, not by sending or reading slowly, and not by exhausting the descriptors of the process (one is kept
// back). It uses at most 71 descriptors more than the limits add up to.
class HttpServer {
 public:
  // Called on the server's thread; must not block. Requests that come in one turn share one result.
  using Handler = std::function<HttpAnswer(const std::string& path)>;

  // Listens on HOST:PORT (see Listen) until it is destroyed. The error says why it cannot.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(const std::string& address, Handler handler,
                                                           HttpLimits limits = {});
  ~HttpServer();

  int port() const { return acceptor_.port(); }

 private:
  struct Client;
  using Clients = std::list<Client>;
  struct Client {
    int socket;
    std::chrono::steady_clock::time_point deadline;
    bool answered = false;
    bool closing = false;
    Clients::iterator self{};
  };
  struct DestroyResponse {
    void operator()(MHD_Response* response) const { MHD_destroy_response(response); }
  };
  struct StopDaemon {
    void operator()(MHD_Daemon* daemon) const { MHD_stop_daemon(daemon); }
  };
  struct Response {
    unsigned status;
    std::unique_ptr<MHD_Response, DestroyResponse> made;
  };

  HttpServer(ListeningSockets listening, Handler handler, HttpLimits limits);
  absl::Status StartDaemon();

  // Called by the library.
  static MHD_Result OnRequest(void* self, MHD_Connection* connection, const char* path, const char* method,
                              const char* version, const char* upload, size_t* upload_size, void** context);
  static void OnConnection(void* self, MHD_Connection* connection, void** context, MHD_ConnectionNotificationCode what);

  void Run();
  void Wait();
  void Take(Acceptor::Client client);
  bool CloseOldest();
  void Enforce(std::chrono::steady_clock::time_point now);
  void Close(Client& client);
  const Response& AnswerTo(const std::string& path, bool allowed);

  const Handler handler_;
  const HttpLimits limits_;
  Descriptor epoll_, stop_;
  // The rest belongs to the thread.
  Acceptor acceptor_;
  Clients clients_;  // the oldest first
  std::map<std::string, Response> answers_;
  std::unique_ptr<MHD_Daemon, StopDaemon> daemon_;
  std::thread thread_;
};

}  // namespace longhaul
