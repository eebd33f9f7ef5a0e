#pragma once

#include <span>
#include <string>
#include <vector>

namespace longhaul {

// A warning for each variable of `environment` (NAME=VALUE) that begins with LONGHAUL_, is none of `known`, and is so
// near to one of them (two letters inserted, left out or changed at most) that a slip is likely. Others, as
// orchestrators inject them for a service of that name (LONGHAUL_SERVICE_HOST, LONGHAUL_PORT_50051_TCP), are none of
// ours to judge.
std::vector<std::string> CheckEnvironment(std::span<const std::string> environment, std::span<const std::string> known);

}  // namespace longhaul
