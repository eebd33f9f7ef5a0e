#include "engine/backend/cpu/worker_pool.h"

#include "engine/base/this_thread.h"
#include "hwy/cache_control.h"

namespace longhaul::cpu {
namespace {

// Some tens of microseconds: longer than the serial stretches of a step, shorter than what a core costs.
constexpr int kSpins = 2000;

bool IsExhausted(uint64_t pieces) {
  return (pieces & 0xffffffffu) >= (pieces >> 32);
}

}  // namespace

WorkerPool::WorkerPool(int threads) {
  // Spinning takes the core away from the thread that is waited for when there are not enough of them.
  if (threads <= static_cast<int>(std::thread::hardware_concurrency())) spins_ = kSpins;
  for (int thread = 1; thread < threads; ++thread) workers_.emplace_back([this, thread] { Run(thread); });
}

WorkerPool::~WorkerPool() {
  {
    MutexLock lock(mutex_);
    stopping_.store(true);
    wake_.NotifyAll();
  }
  for (std::thread& worker : workers_) worker.join();
}

void WorkerPool::ParallelFor(int64_t pieces, WorkRef work) {
  if (workers_.empty() || pieces <= 1) {
    for (int64_t piece = 0; piece < pieces; ++piece) work(piece, 0);
    return;
  }
  work_ = &work;
  done_.store(0, std::memory_order_relaxed);
  pieces_.store(static_cast<uint64_t>(pieces) << 32);
  // Either this load sees the sleeper, or the sleeper's look at pieces_ comes later and sees the work.
  if (sleepers_.load() > 0) {
    MutexLock lock(mutex_);
    wake_.NotifyAll();
  }
  Work(0);
  for (int spin = 0; done_.load(std::memory_order_acquire) != pieces; ++spin) {
    if (spin < spins_) {
      hwy::Pause();
    } else {
      std::this_thread::yield();
    }
  }
}

bool WorkerPool::HasWork() const {
  return !IsExhausted(pieces_.load());
}

void WorkerPool::Work(int thread) {
  uint64_t pieces = pieces_.load(std::memory_order_acquire);
  while (!IsExhausted(pieces)) {
    if (!pieces_.compare_exchange_weak(pieces, pieces + 1, std::memory_order_acq_rel, std::memory_order_acquire)) {
      continue;
    }
    (*work_)(static_cast<int64_t>(pieces & 0xffffffffu), thread);
    done_.fetch_add(1, std::memory_order_release);
    pieces = pieces_.load(std::memory_order_acquire);
  }
}

void WorkerPool::Run(int thread) {
  NameThisThread("cpu worker");
  while (!stopping_.load(std::memory_order_relaxed)) {
    for (int spin = 0; spin < spins_ && !HasWork(); ++spin) hwy::Pause();
    if (!HasWork()) {
      MutexLock lock(mutex_);
      sleepers_.fetch_add(1);
      while (!HasWork() && !stopping_.load(std::memory_order_relaxed)) wake_.Wait(mutex_);
      sleepers_.fetch_sub(1);
    }
    Work(thread);
  }
}

}  // namespace longhaul::cpu
