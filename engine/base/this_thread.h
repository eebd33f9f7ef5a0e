#pragma once

#include <pthread.h>
#include <time.h>

#include <chrono>

namespace longhaul {

// Names the calling thread for `top -H`, debuggers and /proc; at most 15 characters.
inline void NameThisThread(const char* name) {
  pthread_setname_np(pthread_self(), name);
}

// CPU time of the calling thread.
inline std::chrono::nanoseconds ThreadCpuTime() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

}  // namespace longhaul
