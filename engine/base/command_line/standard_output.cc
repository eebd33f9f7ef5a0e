#include "engine/base/command_line/standard_output.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/types.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>  // program_invocation_short_name
#include <csignal>
#include <cstdio>
#include <cstring>

namespace longhaul {
namespace {

std::atomic<int> first_error = 0;  // errno of a write

// For fopencookie: the bytes written, fewer after an error.
ssize_t Write(void*, const char* bytes, size_t size) {
  size_t written = 0;
  while (written < size) {
    const ssize_t n = write(STDOUT_FILENO, bytes + written, size - written);
    if (n >= 0) {
      written += static_cast<size_t>(n);
    } else if (errno == EAGAIN) {
      pollfd room{.fd = STDOUT_FILENO, .events = POLLOUT, .revents = 0};
      poll(&room, 1, -1);
    } else if (errno != EINTR) {
      int none = 0;
      first_error.compare_exchange_strong(none, errno);
      break;
    }
  }
  return static_cast<ssize_t>(written);
}

void OpenStandardDescriptors(int, char**, char**) {
  for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(descriptor, F_GETFD) >= 0) continue;
    // open() returns the lowest free number, which is this one. Read-only, so that writes to it fail.
    (void)!open("/dev/null", descriptor == STDERR_FILENO ? O_WRONLY : O_RDONLY);
  }
}

// Before the constructors of the libraries too: one of gRPC's opens a descriptor.
using Initializer = void (*)(int argc, char** argv, char** environment);
[[gnu::section(".preinit_array"), gnu::used]] const Initializer before_all_else = OpenStandardDescriptors;

}  // namespace

void BeginStandardOutput() {
  FILE* const checked = fopencookie(nullptr, "w", {.read = nullptr, .write = Write, .seek = nullptr, .close = nullptr});
  if (checked == nullptr) return;
  setvbuf(checked, nullptr, isatty(STDOUT_FILENO) != 0 ? _IOLBF : _IOFBF, BUFSIZ);
  stdout = checked;
}

int EndStandardOutput(int exit_code) {
  std::fflush(stdout);
  const int error = first_error;
  if (error == 0) return exit_code;
  if (error == EPIPE) return 128 + SIGPIPE;
  std::fprintf(stderr, "%s: cannot write standard output: %s\n", program_invocation_short_name, std::strerror(error));
  return 1;
}

}  // namespace longhaul
