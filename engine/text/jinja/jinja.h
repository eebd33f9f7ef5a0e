#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "engine/text/jinja/node.h"

// The part of Jinja that chat templates of the known families are written in, as Hugging Face's tokenizers run it. A
// template is untrusted: its size, its nesting and its work are bounded, and what is not supported is an error where it
// is reached, never another text.
namespace longhaul::jinja {

// The statements of a template. INVALID_ARGUMENT names the line of what cannot be read.
absl::StatusOr<NodePtr> Parse(std::string_view text);

// What a template writes. FAILED_PRECONDITION when it refuses (raise_exception), INVALID_ARGUMENT, with the line, when
// it does too much or what is not supported.
absl::StatusOr<std::string> Render(const Node& root, Map variables);

}  // namespace longhaul::jinja
