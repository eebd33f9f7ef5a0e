#pragma once

#include <array>

namespace longhaul {

// What a server is doing: it begins with loading and ends with draining.
enum class ServerState { kLoading, kReady, kDraining };
inline constexpr std::array kServerStateNames = {"loading", "ready", "draining"};

}  // namespace longhaul
