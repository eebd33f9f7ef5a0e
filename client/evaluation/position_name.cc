#include "client/evaluation/position_name.h"

#include "proto/position_text.h"

namespace longhaul {

std::string PositionName(v1::PositionMode position) {
  position.clear_allow_beyond_reach();
  return PositionText(position);
}

}  // namespace longhaul
