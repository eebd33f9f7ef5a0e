#include "client/evaluation/interrupt.h"

#include <pthread.h>

#include <csignal>
#include <cstdlib>
#include <thread>
#include <utility>

namespace longhaul {

Interrupt::Interrupt() {
  static sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  std::thread([this] {
    int number = 0;
    sigwait(&set, &number);
    {
      const std::lock_guard lock(mutex_);
      requested_ = true;
      if (action_) action_();
    }
    sigwait(&set, &number);
    std::_Exit(130);
  }).detach();
}

void Interrupt::SetAction(std::function<void()> action) {
  const std::lock_guard lock(mutex_);
  action_ = std::move(action);
  if (requested_ && action_) action_();
}

}  // namespace longhaul
