#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "engine/base/mutex.h"

namespace longhaul {

// A pool of threads that runs functions in the order in which they were added. Thread-safe.
class WorkQueue {
 public:
  // `name`: of its threads, at most 15 characters. Throws what StartThread does.
  WorkQueue(size_t threads, const char* name);
  // Runs what was added, then joins the threads.
  ~WorkQueue();
  WorkQueue(const WorkQueue&) = delete;
  WorkQueue& operator=(const WorkQueue&) = delete;

  // Adds a function, which must not throw. Throws std::bad_alloc, and adds nothing, where there is no memory.
  void Add(std::function<void()> work);

 private:
  WorkQueue() = default;
  void Run();

  Mutex mutex_;
  CondVar changed_;
  std::deque<std::function<void()>> work_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace longhaul
