#include "server/metrics/http_server.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <iterator>
#include <new>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/log.h"
#include "engine/base/status_macros.h"
#include "engine/base/this_thread.h"

namespace longhaul {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr size_t kRequestBytes = 8192;  // memory of a connection; longer requests are refused
constexpr size_t kInPassing = 64;       // connections that are closed or were taken in one turn
// The socket's send buffer, which bounds what the system holds of an answer that is not read.
constexpr int kSendBytes = 128 << 10;
constexpr milliseconds kTick{1000};

// Called by the library: must not throw.
void LogLine(void*, const char* format, va_list arguments) {
  constexpr size_t kPrefix = 6;
  char line[512] = "HTTP: ";
  const int size = std::vsnprintf(line + kPrefix, sizeof(line) - kPrefix, format, arguments);
  if (size <= 0) return;
  std::string_view text(line, std::min(kPrefix + static_cast<size_t>(size), sizeof(line) - 1));
  if (text.ends_with('\n')) text.remove_suffix(1);
  Log(LogLevel::kDebug, text);
}

[[noreturn]] void Panic(void*, const char* file, unsigned line, const char* reason) {
  LogError("HTTP: ", file, ":", line, ": ", reason);
  std::abort();
}

}  // namespace

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(const std::string& address, Handler handler,
                                                              HttpLimits limits) {
  LH_ASSIGN_OR_RETURN(ListeningSockets listening, Listen(address));
  rlimit descriptors{};
  getrlimit(RLIMIT_NOFILE, &descriptors);
  limits.connections = std::min(limits.connections, std::max<size_t>(descriptors.rlim_cur / 8, 1));
  auto server = std::unique_ptr<HttpServer>(new HttpServer(std::move(listening), std::move(handler), limits));
  LH_RETURN_IF_ERROR(server->StartDaemon());
  return server;
}

HttpServer::HttpServer(ListeningSockets listening, Handler handler, HttpLimits limits)
    : handler_(std::move(handler)),
      limits_(limits),
      epoll_(epoll_create1(EPOLL_CLOEXEC)),
      stop_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      acceptor_(std::move(listening), epoll_.get()) {}

absl::Status HttpServer::StartDaemon() {
  if (!epoll_.valid() || !stop_.valid()) return absl::UnavailableError(std::strerror(errno));
  MHD_set_panic_func(Panic, nullptr);
  const size_t most = limits_.connections + limits_.unread_answers + kInPassing;
  daemon_.reset(MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_USE_ERROR_LOG, 0, nullptr, nullptr,
                                 OnRequest, this,                                           //
                                 MHD_OPTION_EXTERNAL_LOGGER, LogLine, nullptr,              // must be the first
                                 MHD_OPTION_CONNECTION_LIMIT, static_cast<unsigned>(most),  //
                                 MHD_OPTION_CONNECTION_MEMORY_LIMIT, kRequestBytes,         //
                                 MHD_OPTION_NOTIFY_CONNECTION, OnConnection, this, MHD_OPTION_END));
  if (daemon_ == nullptr) return absl::UnavailableError("the HTTP library cannot start");
  for (const int fd : {stop_.get(), MHD_get_daemon_info(daemon_.get(), MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd}) {
    epoll_event event{.events = EPOLLIN, .data = {.ptr = nullptr}};  // each is asked at every turn
    if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) return absl::UnavailableError(std::strerror(errno));
  }
  try {
    thread_ = std::thread([this] { Run(); });
  } catch (const std::system_error& error) {
    return absl::UnavailableError(absl::StrCat("no thread: ", error.what()));
  }
  return absl::OkStatus();
}

HttpServer::~HttpServer() {
  if (thread_.joinable()) {
    eventfd_write(stop_.get(), 1);
    thread_.join();
  }
  daemon_.reset();  // it still calls back about clients
}

void HttpServer::Run() {
  NameThisThread("http");
  eventfd_t stopped = 0;
  while (eventfd_read(stop_.get(), &stopped) != 0) {
    Wait();
    MHD_run(daemon_.get());
    answers_.clear();
    const Clock::time_point now = Clock::now();
    acceptor_.Turn(now);
    acceptor_.Accept(
        now, [this](Acceptor::Client client) { Take(std::move(client)); }, [this] { return CloseOldest(); });
    Enforce(now);
  }
}

void HttpServer::Wait() {
  milliseconds timeout = acceptor_.rests() ? Acceptor::kRest : clients_.empty() ? milliseconds(-1) : kTick;
  // The deadlines are ours: it asks for a timeout only where there is something to do at once.
  MHD_UNSIGNED_LONG_LONG none = 0;
  if (MHD_get_timeout(daemon_.get(), &none) == MHD_YES) timeout = milliseconds(0);
  epoll_event any;
  epoll_wait(epoll_.get(), &any, 1, static_cast<int>(timeout.count()));
}

void HttpServer::Take(Acceptor::Client client) {
  setsockopt(client.socket.get(), SOL_SOCKET, SO_SNDBUF, &kSendBytes, sizeof(kSendBytes));
  MHD_add_connection(daemon_.get(), client.socket.Release(), reinterpret_cast<const sockaddr*>(&client.address),
                     sizeof(client.address));
}

// Its descriptor is there when the library has run again.
bool HttpServer::CloseOldest() {
  if (!clients_.empty()) Close(clients_.front());
  return false;
}

// Closes connections that are too late or beyond the limit.
void HttpServer::Enforce(Clock::time_point now) {
  size_t waiting = 0, unread = 0;
  for (const Client& client : clients_) {
    if (!client.closing) ++(client.answered ? unread : waiting);
  }
  for (Client& client : clients_) {
    if (client.closing) continue;
    size_t& number = client.answered ? unread : waiting;
    if (number <= (client.answered ? limits_.unread_answers : limits_.connections) && now < client.deadline) continue;
    Close(client);
    --number;
  }
}

// The library notices the shutdown, and ends the connection the next time that it runs.
void HttpServer::Close(Client& client) {
  shutdown(client.socket, SHUT_RDWR);
  client.closing = true;
}

void HttpServer::OnConnection(void* self, MHD_Connection* connection, void** context,
                              MHD_ConnectionNotificationCode what) {
  HttpServer& server = *static_cast<HttpServer*>(self);
  auto* const client = static_cast<Client*>(*context);
  if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
    if (client != nullptr) server.clients_.erase(client->self);
    return;
  }
  const int socket = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
  try {
    Client& added =
        server.clients_.emplace_back(Client{.socket = socket, .deadline = Clock::now() + server.limits_.time});
    added.self = std::prev(server.clients_.end());
    *context = &added;
  } catch (const std::bad_alloc&) {
    shutdown(socket, SHUT_RDWR);
  }
}

MHD_Result HttpServer::OnRequest(void* self, MHD_Connection* connection, const char* path, const char* method,
                                 const char*, const char*, size_t*, void**) {
  const std::string_view verb(method);
  auto* const client =
      static_cast<Client*>(MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context);
  try {
    const Response& response = static_cast<HttpServer*>(self)->AnswerTo(path, verb == "GET" || verb == "HEAD");
    if (client != nullptr) client->answered = true;
    return MHD_queue_response(connection, response.status, response.made.get());
  } catch (const std::exception&) {
    return MHD_NO;  // closes the connection
  }
}

// REQUIRES: called while MHD_run runs, after which what is returned may be gone.
const HttpServer::Response& HttpServer::AnswerTo(const std::string& path, bool allowed) {
  const std::string key = allowed ? path : "";  // no path is empty
  if (const auto found = answers_.find(key); found != answers_.end()) return found->second;
  HttpAnswer answer = allowed ? handler_(path)
                              : HttpAnswer{.status = MHD_HTTP_METHOD_NOT_ALLOWED,
                                           .content_type = "text/plain; charset=utf-8",
                                           .body = "only GET and HEAD are answered\n"};
  auto body = std::make_unique<std::string>(std::move(answer.body));
  Response response = {
      .status = answer.status,
      .made = std::unique_ptr<MHD_Response, DestroyResponse>(MHD_create_response_from_buffer_with_free_callback_cls(
          body->size(), body->data(), [](void* owned) { delete static_cast<std::string*>(owned); }, body.get()))};
  MHD_Response* const made = response.made.get();
  if (made == nullptr) throw std::bad_alloc();
  (void)body.release();
  const bool complete = MHD_add_response_header(made, "Content-Type", answer.content_type.c_str()) == MHD_YES &&
                        MHD_add_response_header(made, "Cache-Control", "no-store") == MHD_YES &&
                        MHD_add_response_header(made, "Connection", "close") == MHD_YES &&
                        (allowed || MHD_add_response_header(made, "Allow", "GET, HEAD") == MHD_YES);
  if (!complete) throw std::bad_alloc();
  return answers_.emplace(key, std::move(response)).first->second;
}

}  // namespace longhaul
