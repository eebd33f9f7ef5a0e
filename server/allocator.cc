// The program is linked to jemalloc, which gives back what a burst of requests took; the C library's allocator keeps
// most of it. Read by jemalloc when the program starts; the environment's MALLOC_CONF comes after it.
#include <cstdlib>
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
namespace {

// What is smaller adds up slowly, and is asked for too often to ask the system each time.
constexpr size_t kLarge = 1 << 20;

void* Allocate(size_t bytes) {
  if (bytes >= kLarge && !longhaul::LeavesAddressSpaceReserve(bytes)) throw std::bad_alloc();
  if (void* const memory = std::malloc(bytes)) return memory;
  throw std::bad_alloc();
}

}  // namespace

// gRPC, which is C below, takes its memory by malloc.
void* operator new(size_t bytes) {
  return Allocate(bytes);
}
void* operator new[](size_t bytes) {
  return Allocate(bytes);
}
#endif
