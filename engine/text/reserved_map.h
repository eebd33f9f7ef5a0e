#pragma once

#include <cstddef>
#include <utility>

namespace longhaul {

// An empty Abseil map with room for `n` entries. Abseil maps do not survive an exception while they grow, so none may
// grow beyond this room. Throws std::bad_alloc where there is no memory, and leaks the map that failed.
template <typename Map>
Map ReservedMap(size_t n) {
  auto* const made = new Map;
  made->reserve(n);
  Map map = std::move(*made);
  delete made;
  return map;
}

}  // namespace longhaul
