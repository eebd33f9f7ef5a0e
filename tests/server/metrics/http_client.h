#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>

namespace longhaul {

// One TCP connection to a server of this machine, byte by byte.
class HttpClient {
 public:
  // Not connected yet.
  HttpClient() : socket_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) { EXPECT_GE(socket_, 0); }
  explicit HttpClient(int port) : HttpClient() { Connect(port); }
  HttpClient(HttpClient&& other) noexcept : socket_(std::exchange(other.socket_, -1)) {}
  ~HttpClient() {
    if (socket_ >= 0) close(socket_);
  }

  void Connect(int port) const {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    EXPECT_EQ(connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  }

  // False when the other side has closed.
  bool Send(const std::string& text) const {
    return send(socket_, text.data(), text.size(), MSG_NOSIGNAL) == std::ssize(text);
  }

  // Waits until there is something to read or the end, which are left unread.
  void WaitForAnswer() const {
    char first = 0;
    (void)!recv(socket_, &first, 1, MSG_PEEK);
  }
  bool HasAnswerWithin(int milliseconds) const {
    pollfd events{.fd = socket_, .events = POLLIN, .revents = 0};
    return poll(&events, 1, milliseconds) > 0;
  }

  // Whatever comes until the other side closes.
  std::string Read() const {
    std::string answer;
    char buffer[65536];
    for (ssize_t n = 0; (n = recv(socket_, buffer, sizeof(buffer), 0)) > 0;)
      answer.append(buffer, static_cast<size_t>(n));
    return answer;
  }

 private:
  int socket_;
};

inline std::string Request(const std::string& method, const std::string& path) {
  return method + " " + path + " HTTP/1.1\r\nHost: here\r\n\r\n";
}

// The whole answer as it stands on the wire.
inline std::string AskServer(int port, const std::string& request) {
  const HttpClient client(port);
  EXPECT_TRUE(client.Send(request));
  return client.Read();
}

}  // namespace longhaul
