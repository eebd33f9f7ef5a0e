#pragma once

#include <cstdint>

namespace longhaul {

// Asks for the cache lines of the addresses [begin, end), and does not wait for them. Any will do: none is accessed.
inline void PrefetchAddresses(uintptr_t begin, uintptr_t end) {
  constexpr uintptr_t kLine = 64;
  for (uintptr_t line = begin & ~(kLine - 1); line < end; line += kLine) {
    __builtin_prefetch(reinterpret_cast<const void*>(line));
  }
}

// The same for what lies from `begin` to `end`.
inline void Prefetch(const void* begin, const void* end) {
  PrefetchAddresses(reinterpret_cast<uintptr_t>(begin), reinterpret_cast<uintptr_t>(end));
}

// The same for one object, which need not be there.
template <typename T>
void Prefetch(const T* object) {
  PrefetchAddresses(reinterpret_cast<uintptr_t>(object), reinterpret_cast<uintptr_t>(object) + sizeof(T));
}

}  // namespace longhaul
