#pragma once

#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "engine/base/this_thread.h"

namespace longhaul {

// A thread that runs `run`, of this name, at most 15 characters. Throws a std::system_error that says what was missing
// where it cannot be had.
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
