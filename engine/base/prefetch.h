#pragma once

#include <cstdint>

namespace longhaul {

// Prefetches the cache lines of [begin, end). The addresses need not be valid: nothing is accessed.
inline void PrefetchAddresses(uintptr_t begin, uintptr_t end) {
  constexpr uintptr_t kLine = 64;
  for (uintptr_t line = begin & ~(kLine - 1); line < end; line += kLine) {
    __builtin_prefetch(reinterpret_cast<const void*>(line));
  }
}

// Prefetches the bytes [begin, end).
inline void Prefetch(const void* begin, const void* end) {
  PrefetchAddresses(reinterpret_cast<uintptr_t>(begin), reinterpret_cast<uintptr_t>(end));
}

// Prefetches an object; the pointer need not be valid.
template <typename T>
void Prefetch(const T* object) {
  PrefetchAddresses(reinterpret_cast<uintptr_t>(object), reinterpret_cast<uintptr_t>(object) + sizeof(T));
}

}  // namespace longhaul
