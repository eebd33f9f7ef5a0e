#pragma once

#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "engine/base/this_thread.h"

namespace longhaul {

// Starts a thread that runs `run`. `name`: at most 15 characters. Where the system refuses, throws a std::system_error
// that names the thread and the limits to look at.
template <typename Run>
std::thread StartThread(const char* name, Run run) {
  try {
    return std::thread([name, run = std::move(run)]() mutable {
      NameThisThread(name);
      run();
    });
  } catch (const std::system_error& error) {
    throw std::system_error(error.code(),
                            std::string("cannot start the thread '") + name + "' (see ulimit -u and ulimit -v)");
  }
}

}  // namespace longhaul
