#include "server/grpc/stall_watch.h"

#include <grpc/grpc.h>

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/log.h"
#include "engine/base/start_thread.h"

namespace longhaul {

StallWatch::Watched::Watched(Watched&& other) noexcept
    : watch_(std::exchange(other.watch_, nullptr)), number_(other.number_) {}

StallWatch::Watched& StallWatch::Watched::operator=(Watched&& other) noexcept {
  Release();
  watch_ = std::exchange(other.watch_, nullptr);
  number_ = other.number_;
  return *this;
}

void StallWatch::Watched::Release() {
  StallWatch* const watch = std::exchange(watch_, nullptr);
  if (watch == nullptr) return;
  grpc_call* call = nullptr;
  {
    MutexLock lock(watch->mutex_);
    const auto found = watch->calls_.find(number_);
    if (found == watch->calls_.end()) return;  // it is being ended
    call = found->second.call;
    watch->calls_.erase(found);
  }
  grpc_call_unref(call);
}

StallWatch::StallWatch(std::chrono::milliseconds timeout) : timeout_(timeout) {
  if (timeout.count() > 0) thread_ = StartThread("stall watch", [this] { Run(); });
}

StallWatch::~StallWatch() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
  }
  stopped_.NotifyOne();
  if (thread_.joinable()) thread_.join();
}

StallWatch::Watched StallWatch::Watch(grpc::ServerContextBase& context) {
  Watched watched;
  if (timeout_.count() == 0) return watched;
  grpc_call* const call = context.c_call();
  MutexLock lock(mutex_);
  watched.number_ = next_number_++;
  calls_.emplace(watched.number_, Call{call, Clock::now() + timeout_});
  grpc_call_ref(call);
  watched.watch_ = this;
  return watched;
}

void StallWatch::Run() {
  const std::string message = absl::StrCat("the client did not take what it asked for within ", timeout_.count(),
                                           " ms (--stream-stall-timeout)");
  mutex_.Lock();
  while (!stopping_) {
    const Clock::time_point now = Clock::now();
    const auto first = calls_.begin();
    if (first == calls_.end() || first->second.deadline > now) {
      // Nobody who comes meanwhile has an earlier deadline, so nobody need wake this.
      stopped_.WaitUntil(mutex_, first == calls_.end() ? now + timeout_ : first->second.deadline);
      continue;
    }
    grpc_call* const call = first->second.call;
    calls_.erase(first);
    mutex_.Unlock();  // ending a call may call back at once
    LogDebug("a call is ended: ", message);
    grpc_call_cancel_with_status(call, GRPC_STATUS_ABORTED, message.c_str(), nullptr);
    grpc_call_unref(call);
    mutex_.Lock();
  }
  mutex_.Unlock();
}

}  // namespace longhaul
