#include "engine/model/layer_config.h"

namespace longhaul {

std::string_view Name(LayerRotation rotation) {
  switch (rotation) {
    case LayerRotation::kRequest:
      return "request";
    case LayerRotation::kConstant:
      return "constant";
    case LayerRotation::kNone:
      return "none";
  }
  return "unknown";
}

std::string_view Name(QkNorm norm) {
  switch (norm) {
    case QkNorm::kNone:
      return "none";
    case QkNorm::kPerHead:
      return "per head";
    case QkNorm::kAllHeads:
      return "all heads";
  }
  return "unknown";
}

std::string_view Name(Gate gate) {
  switch (gate) {
    case Gate::kSilu:
      return "silu";
    case Gate::kGelu:
      return "gelu";
  }
  return "unknown";
}

}  // namespace longhaul
