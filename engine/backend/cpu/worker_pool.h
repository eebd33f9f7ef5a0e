#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <thread>
#include <vector>

#include "absl/functional/function_ref.h"
#include "engine/base/mutex.h"

namespace longhaul::cpu {

// The threads of the CPU backend. Between two pieces of work they spin for some microseconds, then sleep.
class WorkerPool {
 public:
  // The calling thread works too: threads - 1 are started. Throws what StartThread does. REQUIRES: threads >= 1.
  explicit WorkerPool(int threads);
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls work(piece, thread) once for each piece in 0..pieces-1, on any thread (0..threads()-1) in any order, and
  // returns when all are done. Each thread begins with the first pieces of a share of its own, one of threads() that
  // follow each other and are equally large, the earlier ones by one piece larger where they must be. The number of
  // pieces must not depend on the number of threads, so that no result does. One caller at a time; `work` calls no
  // ParallelFor of the same pool. What `work` throws, on any thread, is thrown here when all pieces are done: the first
  // that came. REQUIRES: pieces < 2^32.
  void ParallelFor(int64_t pieces, absl::FunctionRef<void(int64_t piece, int thread)> work);

 private:
  struct NotStarted {};
  WorkerPool(int threads, NotStarted);

  using WorkRef = absl::FunctionRef<void(int64_t, int)>;

  // The pieces [next, end) that are left to one thread, as end << 32 | next, in a cache line of its own: a thread takes
  // its own from the front, so that it reads memory in order and no other core hears of it, and from the back of
  // another one's when it has none left. Whoever moves a border owns the piece, and ParallelFor does not return before
  // that is done: so a worker that wakes late finds nothing or joins the present call, and nobody waits for it.
  struct alignas(64) Share {
    std::atomic<uint64_t> pieces{0};
  };

  void Run(int thread);
  // Does pieces until none is left to take; returns how many.
  int64_t Work(int thread);
  void NoteFailure();
  void ThrowFailure();
  bool HasWork(int thread) const;

  std::vector<std::thread> workers_;
  int spins_ = 0;
  const WorkRef* work_ = nullptr;
  std::vector<Share> shares_;                 // [threads]
  alignas(64) std::atomic<int64_t> done_{0};  // by the workers
  alignas(64) std::atomic<int> sleepers_{0};
  std::atomic<bool> stopping_{false}, has_failed_{false};
  Mutex mutex_;
  CondVar wake_;
  std::exception_ptr failure_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace longhaul::cpu
