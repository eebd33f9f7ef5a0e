#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "engine/text/jinja/node.h"

namespace longhaul::jinja {

// The statements of a template as a kBlock; nodes are nested at most 200 deep. What is not supported and can be skipped
// becomes a kUnsupported. INVALID_ARGUMENT names the line of what cannot be read.
absl::StatusOr<NodePtr> Parse(std::string_view text);

}  // namespace longhaul::jinja
