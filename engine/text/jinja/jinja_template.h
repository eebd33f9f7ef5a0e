#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "engine/text/jinja/node.h"
#include "engine/text/jinja/value.h"

namespace longhaul::jinja {

// The part of Jinja that chat templates are written in, as Hugging Face's tokenizers run it. A template is untrusted:
// what it may nest, compute and write is bounded, and what is not supported is an error where it is reached, never
// another text. Immutable: any thread may call.
class JinjaTemplate {
 public:
  // INVALID_ARGUMENT names the line of what cannot be read.
  static absl::StatusOr<JinjaTemplate> Parse(std::string_view text);

  // FAILED_PRECONDITION when the template itself refuses (raise_exception), INVALID_ARGUMENT, with the line, when it
  // does what is not supported.
  absl::StatusOr<std::string> Render(Map variables) const;

 private:
  explicit JinjaTemplate(NodePtr root) : root_(std::move(root)) {}
  NodePtr root_;
};

}  // namespace longhaul::jinja
