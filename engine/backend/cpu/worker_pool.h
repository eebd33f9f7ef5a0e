#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <thread>
#include <vector>

#include "absl/functional/function_ref.h"
#include "engine/base/mutex.h"

namespace longhaul::cpu {

// The threads of the CPU backend. Without work they spin for some tens of microseconds, then sleep.
class WorkerPool {
 public:
  // The calling thread works too: threads - 1 are started. Throws what StartThread does. REQUIRES: threads >= 1.
  explicit WorkerPool(int threads);
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls work(piece, thread) once for each piece in 0..pieces-1, on any thread (0..threads()-1) in any order, and
  // returns when all are done. The pieces are cut into threads() consecutive shares of equal size, the first ones
  // larger by one where they must be; a thread takes those of its own share from the front, then those of others from
  // the back. The number of pieces must not depend on the number of threads, so that results do not either. One caller
  // at a time; `work` calls no ParallelFor of the same pool. The first exception of `work`, on any thread, is thrown
  // here once no thread works any more; pieces may then be left out. REQUIRES: pieces < 2^32.
  void ParallelFor(int64_t pieces, absl::FunctionRef<void(int64_t piece, int thread)> work);

 private:
  struct NotStarted {};
  WorkerPool(int threads, NotStarted);

  using WorkRef = absl::FunctionRef<void(int64_t, int)>;

  // The pieces [next, end) that are left of a share, as end << 32 | next, in a cache line of its own. The owner takes
  // from the front, so that it reads memory in order; a thief takes from the back. Whoever moves a border owns the
  // piece, and ParallelFor waits for all pieces: so a worker that wakes late finds nothing, or joins the call that runs
  // by then, and nobody waits for it.
  struct alignas(64) Share {
    std::atomic<uint64_t> pieces{0};
  };

  void Run(int thread);
  // Runs pieces until none is left to take; returns how many.
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
