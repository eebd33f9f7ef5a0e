#include "engine/base/work_queue.h"

#include <utility>

#include "engine/base/start_thread.h"

namespace longhaul {

// Delegates, so that the destructor joins the threads that were started when a later one cannot be.
WorkQueue::WorkQueue(size_t threads, const char* name) : WorkQueue() {
  threads_.reserve(threads);
  for (size_t i = 0; i < threads; ++i) threads_.push_back(StartThread(name, [this] { Run(); }));
}

WorkQueue::~WorkQueue() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
  }
  changed_.NotifyAll();
  for (std::thread& thread : threads_) thread.join();
}

void WorkQueue::Add(std::function<void()> work) {
  {
    MutexLock lock(mutex_);
    work_.push_back(std::move(work));
  }
  changed_.NotifyOne();
}

void WorkQueue::Run() {
  for (;;) {
    std::function<void()> work;
    {
      MutexLock lock(mutex_);
      while (work_.empty() && !stopping_) changed_.Wait(mutex_);
      if (work_.empty()) return;
      work = std::move(work_.front());
      work_.pop_front();
    }
    work();
  }
}

}  // namespace longhaul
