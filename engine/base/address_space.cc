#include "engine/base/address_space.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>

namespace longhaul {
namespace {

std::atomic<int64_t> reserve{0};

// Size of the address space of this process; 0 where it is not known.
uint64_t BytesInUse() {
  char text[64] = {};
  const int file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  const ssize_t n = read(file, text, sizeof(text) - 1);
  close(file);
  return n > 0 ? std::strtoull(text, nullptr, 10) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE)) : 0;
}

}  // namespace

void SetAddressSpaceReserve(int64_t bytes) {
  reserve = bytes;
}

bool LeavesAddressSpaceReserve(size_t bytes) noexcept {
  rlimit limit{};
  if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return true;
  const uint64_t used = BytesInUse(), kept = static_cast<uint64_t>(reserve.load());
  return used + kept <= limit.rlim_cur && bytes <= limit.rlim_cur - used - kept;
}

}  // namespace longhaul
