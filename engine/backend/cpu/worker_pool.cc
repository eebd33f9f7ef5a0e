#include "engine/backend/cpu/worker_pool.h"

#include <utility>

#include "engine/base/start_thread.h"
#include "hwy/cache_control.h"

namespace longhaul::cpu {
namespace {

// Some tens of microseconds: longer than the serial parts of a step, too short to waste much of a core.
constexpr int kSpins = 2000;

constexpr uint64_t MakeShare(int64_t next, int64_t end) {
  return static_cast<uint64_t>(end) << 32 | static_cast<uint64_t>(next);
}
constexpr uint32_t Next(uint64_t share) {
  return static_cast<uint32_t>(share);
}
constexpr uint32_t End(uint64_t share) {
  return static_cast<uint32_t>(share >> 32);
}

// Takes the first or the last piece of a share; -1 where none is left.
int64_t TakePiece(std::atomic<uint64_t>& share, bool first) {
  uint64_t now = share.load(std::memory_order_acquire);
  while (Next(now) < End(now)) {
    const uint64_t left = first ? MakeShare(Next(now) + 1, End(now)) : MakeShare(Next(now), End(now) - 1);
    if (share.compare_exchange_weak(now, left, std::memory_order_acq_rel, std::memory_order_acquire)) {
      return first ? Next(now) : End(now) - 1;
    }
  }
  return -1;
}

}  // namespace

WorkerPool::WorkerPool(int threads, NotStarted) : shares_(static_cast<size_t>(threads)) {
  // With more threads than cores, spinning would keep the core from the thread that is waited for.
  if (threads <= static_cast<int>(std::thread::hardware_concurrency())) spins_ = kSpins;
  workers_.reserve(shares_.size());
}

// Delegates, so that the destructor joins the threads that were started when a later one cannot be.
WorkerPool::WorkerPool(int threads) : WorkerPool(threads, NotStarted()) {
  for (int thread = 1; thread < threads; ++thread) {
    workers_.push_back(StartThread("cpu worker", [this, thread] { Run(thread); }));
  }
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
  const int64_t n_shares = threads(), each = pieces / n_shares, one_more = pieces % n_shares;
  for (int64_t i = 0, next = 0; i < n_shares; ++i) {
    const int64_t end = next + each + (i < one_more ? 1 : 0);
    shares_[static_cast<size_t>(i)].pieces.store(MakeShare(next, end));
    next = end;
  }
  // Either this load sees the sleeper, or the sleeper loads its share later and sees the work.
  if (sleepers_.load() > 0) {
    MutexLock lock(mutex_);
    wake_.NotifyAll();
  }
  const int64_t of_workers = pieces - Work(0);
  for (int spin = 0; done_.load(std::memory_order_acquire) != of_workers; ++spin) {
    if (spin < spins_) {
      hwy::Pause();
    } else {
      std::this_thread::yield();
    }
  }
  if (has_failed_.load(std::memory_order_relaxed)) ThrowFailure();
}

void WorkerPool::NoteFailure() {
  MutexLock lock(mutex_);
  if (failure_ == nullptr) failure_ = std::current_exception();
  has_failed_.store(true, std::memory_order_relaxed);
}

void WorkerPool::ThrowFailure() {
  std::exception_ptr failure;
  {
    MutexLock lock(mutex_);
    failure = std::exchange(failure_, nullptr);
    has_failed_.store(false, std::memory_order_relaxed);
  }
  std::rethrow_exception(failure);
}

bool WorkerPool::HasWork(int thread) const {
  const uint64_t share = shares_[static_cast<size_t>(thread)].pieces.load();
  return Next(share) < End(share);
}

int64_t WorkerPool::Work(int thread) {
  int64_t done = 0;
  for (int i = 0; i < threads(); ++i) {
    const int whose = (thread + i) % threads();
    auto& share = shares_[static_cast<size_t>(whose)].pieces;
    for (int64_t piece; (piece = TakePiece(share, whose == thread)) >= 0; ++done) {
      try {
        (*work_)(piece, thread);
      } catch (...) {  // other threads still work: nobody leaves before all are done
        NoteFailure();
      }
    }
  }
  return done;
}

void WorkerPool::Run(int thread) {
  while (!stopping_.load(std::memory_order_relaxed)) {
    for (int spin = 0; spin < spins_ && !HasWork(thread); ++spin) hwy::Pause();
    if (!HasWork(thread)) {
      MutexLock lock(mutex_);
      sleepers_.fetch_add(1);
      while (!HasWork(thread) && !stopping_.load(std::memory_order_relaxed)) wake_.Wait(mutex_);
      sleepers_.fetch_sub(1);
    }
    done_.fetch_add(Work(thread), std::memory_order_release);
  }
}

}  // namespace longhaul::cpu
