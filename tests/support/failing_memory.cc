#include "tests/support/failing_memory.h"

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace longhaul {
namespace {

// Allocations that are still to succeed, then those that are to fail.
std::atomic<bool> armed{false};
std::atomic<int64_t> succeeding{0}, failing{0}, failed{0};
thread_local int spared = 0;

// Of CountAllocations.
std::atomic<bool> counting{false};
std::atomic<int64_t> n_small{0}, n_large{0};
std::atomic<size_t> large_from{0};

void Count(size_t bytes) {
  if (counting.load(std::memory_order_acquire)) ++(bytes < large_from ? n_small : n_large);
}

bool Fails() {
  if (!armed.load(std::memory_order_acquire) || spared > 0) return false;
  if (succeeding.fetch_sub(1) > 0 || failing.fetch_sub(1) <= 0) return false;
  ++failed;
  return true;
}

void* Allocate(size_t bytes, size_t alignment) {
  void* memory = nullptr;
  Count(bytes);
  if (Fails() || posix_memalign(&memory, alignment < sizeof(void*) ? sizeof(void*) : alignment, bytes) != 0) {
    throw std::bad_alloc();
  }
  return memory;
}

}  // namespace

void FailAllocations(int64_t first, int64_t count) {
  succeeding = first;
  failing = count;
  failed = 0;
  armed.store(true, std::memory_order_release);
}

int64_t RestoreAllocations() {
  armed = false;
  return failed;
}

void CountAllocations(int64_t large_bytes) {
  large_from = static_cast<size_t>(large_bytes);
  n_small = n_large = 0;
  counting.store(true, std::memory_order_release);
}

AllocationCounts StopCounting() {
  counting = false;
  return {n_small, n_large};
}

SparedThread::SparedThread() {
  ++spared;
}
SparedThread::~SparedThread() {
  --spared;
}

}  // namespace longhaul

// The address sanitizer's, which libraries may still find, is freed by ours.
extern "C" const char* __asan_default_options() {
  return "alloc_dealloc_mismatch=0";
}

// Those for arrays and those that return null come down to these.
void* operator new(size_t bytes) {
  return longhaul::Allocate(bytes, alignof(std::max_align_t));
}
void* operator new(size_t bytes, std::align_val_t alignment) {
  return longhaul::Allocate(bytes, static_cast<size_t>(alignment));
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, size_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::align_val_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, size_t, std::align_val_t) noexcept {
  std::free(memory);
}
extern "C" void* aligned_alloc(size_t alignment, size_t bytes) noexcept {
  void* memory = nullptr;
  longhaul::Count(bytes);
  return !longhaul::Fails() && posix_memalign(&memory, alignment, bytes) == 0 ? memory : nullptr;
}
