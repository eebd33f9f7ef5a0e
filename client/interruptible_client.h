#pragma once

#include <csignal>
#include <memory>
#include <string>
#include <thread>

#include "client/client.h"

namespace longhaul {

// A client whose running call Ctrl-C cancels. The signal is taken by a thread, because a handler may not call into
// gRPC; it is blocked before gRPC starts threads of its own.
class InterruptibleClient {
 public:
  explicit InterruptibleClient(const std::string& target) {
    static sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
    client_ = std::make_shared<Client>(target);
    std::thread([client = client_] {
      for (int number = 0; sigwait(&set, &number) == 0;) client->Cancel();
    }).detach();
  }
  Client& operator*() { return *client_; }

 private:
  std::shared_ptr<Client> client_;
};

}  // namespace longhaul
