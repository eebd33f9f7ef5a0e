#pragma once

#include <sys/eventfd.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
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
    std::thread([client = client_, interrupts = interrupts_] {
      constexpr uint64_t kOne = 1;
      for (int number = 0; sigwait(&set, &number) == 0;) {
        // Set before the call ends: whoever waits for both must see the signal no later than the end.
        static_cast<void>(!write(interrupts, &kOne, sizeof kOne));
        client->Cancel();
      }
    }).detach();
  }
  Client& operator*() { return *client_; }

  // A non-blocking eventfd: readable after Ctrl-C, until it is read. Open as long as the process lives.
  int interrupts() const { return interrupts_; }

 private:
  const int interrupts_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  std::shared_ptr<Client> client_;
};

}  // namespace longhaul
