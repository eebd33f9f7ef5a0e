#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "engine/text/jinja/node.h"

namespace longhaul::jinja {

// What a template writes, as Hugging Face's tokenizers run it. A template is untrusted: its work is bounded, and what
// is not supported is an error where it is reached, never another text. FAILED_PRECONDITION when the template itself
// refuses (raise_exception), INVALID_ARGUMENT, with the line, when it does too much or what is not supported.
absl::StatusOr<std::string> Render(const Node& root, Map variables);

}  // namespace longhaul::jinja
