#include "engine/position/position_mode.h"

#include <iterator>

namespace longhaul {

const char* Name(const PositionMode& mode) {
  return PositionModeName(mode.kind.index());
}

const char* PositionModeName(size_t index) {
  // In the order of the variant.
  static constexpr const char* kNames[] = {"auto", "none",   "linear",   "ntk",    "ntk_fixed",    "beta_mixed",
                                           "yarn", "llama3", "per_pair", "rerope", "leaky_rerope", "self_extend"};
  static_assert(std::size(kNames) == std::variant_size_v<decltype(PositionMode::kind)>);
  return kNames[index];
}

PositionMode DefaultLongMode() {
  return {.kind = position::Rerope()};
}

}  // namespace longhaul
