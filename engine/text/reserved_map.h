#pragma once

#include <cstddef>
#include <utility>

namespace longhaul {

// An empty map of Abseil's with room for `n` entries. Where there is no memory it throws std::bad_alloc and leaves the
// map that failed behind: those do not survive an exception of their own. So none may grow beyond its room.
template <typename Map>
Map ReservedMap(size_t n) {
  auto* const made = new Map;
  made->reserve(n);
  Map map = std::move(*made);
  delete made;
  return map;
}

}  // namespace longhaul
