// The program is linked to jemalloc, which gives back what a burst of requests took; the C library's allocator keeps
// most of it. Read by jemalloc when the program starts; the environment's MALLOC_CONF comes after it.
#include <poll.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <new>

#include "engine/base/address_space.h"

extern "C" {
extern const char* malloc_conf;
// Free pages go back to the system within a second, by a thread of its own: no request waits for it. So do their
// addresses, which may be limited too (ulimit -v).
const char* malloc_conf =
    "background_thread:true,max_background_threads:1,dirty_decay_ms:1000,muzzy_decay_ms:0,retain:false";
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
extern "C" void (*malloc_message)(void*, const char* text);  // jemalloc's

namespace {

// Prints jemalloc's messages only where standard error takes them at once: writing must not block.
void Say(void*, const char* text) {
  pollfd room{.fd = STDERR_FILENO, .events = POLLOUT, .revents = 0};
  if (poll(&room, 1, 0) > 0) (void)!write(STDERR_FILENO, text, std::strlen(text));
}

[[maybe_unused]] const bool says_so = (malloc_message = Say, true);

void* Allocate(size_t bytes) {
  if (bytes >= longhaul::kLargeAllocation && !longhaul::LeavesAddressSpaceReserve(bytes)) throw std::bad_alloc();
  if (void* const memory = std::malloc(bytes)) return memory;
  throw std::bad_alloc();
}

}  // namespace

// gRPC's core, which is C, allocates by malloc and aborts where that fails.
void* operator new(size_t bytes) {
  return Allocate(bytes);
}
void* operator new[](size_t bytes) {
  return Allocate(bytes);
}
#endif
