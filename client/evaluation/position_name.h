#pragma once

#include <string>

#include "longhaul/v1/inference.pb.h"

namespace longhaul {

// PositionText without allow-beyond-reach, which an evaluation sets on every request.
std::string PositionName(v1::PositionMode position);

}  // namespace longhaul
