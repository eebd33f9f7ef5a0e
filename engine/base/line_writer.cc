#include "engine/base/line_writer.h"

#include <limits.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <system_error>
#include <utility>

#include "engine/base/this_thread.h"

namespace longhaul {
namespace {

constexpr int kStopPollMs = 100;

// Blocks all signals in the calling thread: other threads handle them, and a pipe whose reader has gone makes the write
// fail instead of ending the process.
class AllSignalsBlocked {
 public:
  AllSignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~AllSignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  AllSignalsBlocked(const AllSignalsBlocked&) = delete;
  AllSignalsBlocked& operator=(const AllSignalsBlocked&) = delete;

 private:
  sigset_t before_;
};

}  // namespace

LineWriter::LineWriter(int descriptor, size_t max_bytes, ToldDropped told_dropped)
    : descriptor_(descriptor), max_bytes_(max_bytes), told_dropped_(std::move(told_dropped)) {}

LineWriter::~LineWriter() {
  std::thread thread;
  {
    MutexLock lock(mutex_);
    stop_ = true;
    thread = std::move(thread_);
    not_empty_.NotifyAll();
  }
  if (thread.joinable()) thread.join();
}

void LineWriter::Write(std::string line) {
  MutexLock lock(mutex_);
  if (full_ || line.size() > max_bytes_ - waiting_bytes_) {
    full_ = waiting_bytes_ > 0;
    return Drop(1);
  }
  if (!StartThread()) {
    if (!WriteWhole(line, /*wait=*/false)) Drop(1);
    return;
  }
  const size_t bytes = line.size();
  lines_.push_back(std::move(line));
  waiting_bytes_ += bytes;
  ++unfinished_;
  not_empty_.NotifyOne();
}

bool LineWriter::Flush(std::chrono::milliseconds patience) const {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (unfinished_ > 0) {
    if (std::chrono::steady_clock::now() >= deadline) return false;
    poll(nullptr, 0, 1);
  }
  return true;
}

void LineWriter::Drop(int64_t lines) {
  dropped_.Add(lines);
  untold_ += lines;
}

// False when no thread can be started.
bool LineWriter::StartThread() {
  if (thread_.joinable()) return true;
  const AllSignalsBlocked inherited;
  try {
    thread_ = std::thread([this] { Run(); });
  } catch (const std::system_error&) {
    return false;
  }
  return true;
}

void LineWriter::Run() {
  NameThisThread("log");
  mutex_.Lock();
  while (true) {
    while (lines_.empty() && !stop_) not_empty_.Wait(mutex_);
    if (stop_) break;
    const std::string line = std::move(lines_.front());
    lines_.pop_front();
    mutex_.Unlock();
    const bool written = WriteWhole(line, /*wait=*/true);
    mutex_.Lock();
    waiting_bytes_ -= line.size();
    if (!written) Drop(1);
    if (lines_.empty()) {
      full_ = false;
      if (const int64_t untold = written ? std::exchange(untold_, 0) : 0; untold > 0) {
        mutex_.Unlock();
        told_dropped_(untold);
        mutex_.Lock();
      }
    }
    --unfinished_;
  }
  mutex_.Unlock();
}

// Writes in pieces that a pipe takes whole as soon as it takes anything. False after an error, or where it would have
// to wait and `wait` is false; part of the line may have been written then.
bool LineWriter::WriteWhole(std::string_view line, bool wait) const {
  while (!line.empty()) {
    pollfd room{.fd = descriptor_, .events = POLLOUT, .revents = 0};
    if (poll(&room, 1, wait ? kStopPollMs : 0) <= 0) {
      if (stop_ || !wait) return false;
      continue;
    }
    const ssize_t n = write(descriptor_, line.data(), std::min<size_t>(line.size(), PIPE_BUF));
    if (n >= 0) {
      line.remove_prefix(static_cast<size_t>(n));
    } else if (errno != EINTR && errno != EAGAIN) {
      return false;
    }
  }
  return true;
}

}  // namespace longhaul
