#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "absl/functional/function_ref.h"
#include "engine/base/mutex.h"

namespace longhaul::cpu {

// The threads of the CPU backend. Between two pieces of work they spin for some microseconds, then sleep.
class WorkerPool {
 public:
  // The calling thread works too: threads - 1 are started. REQUIRES: threads >= 1.
  explicit WorkerPool(int threads);
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls work(piece, thread) once for each piece in 0..pieces-1, on any thread (0..threads()-1) in any order, and
  // returns when all are done. The number of pieces must not depend on the number of threads, so that no result does.
  // One caller at a time.
  void ParallelFor(int64_t pieces, absl::FunctionRef<void(int64_t piece, int thread)> work);

 private:
  void Run(int thread);
  void Work(int thread);

  std::vector<std::thread> workers_;
  const absl::FunctionRef<void(int64_t, int)>* work_ = nullptr;
  int64_t pieces_ = 0;
  alignas(64) std::atomic<int64_t> next_piece_{0};
  alignas(64) std::atomic<uint64_t> generation_{0};  // one more with every ParallelFor
  alignas(64) std::atomic<int> running_{0};          // workers that have not finished this generation
  std::atomic<bool> stopping_{false};
  std::atomic<int> sleepers_{0};
  Mutex mutex_;
  CondVar wake_;
};

}  // namespace longhaul::cpu
