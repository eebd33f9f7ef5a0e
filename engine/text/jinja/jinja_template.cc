#include "engine/text/jinja/jinja_template.h"

#include <utility>

#include "engine/base/status_macros.h"
#include "engine/text/jinja/interpreter.h"
#include "engine/text/jinja/parser.h"

namespace longhaul::jinja {

absl::StatusOr<JinjaTemplate> JinjaTemplate::Parse(std::string_view text) {
  LH_ASSIGN_OR_RETURN(NodePtr root, jinja::Parse(text));
  return JinjaTemplate(std::move(root));
}

absl::StatusOr<std::string> JinjaTemplate::Render(Map variables) const {
  return Interpreter(std::move(variables)).Run(*root_);
}

}  // namespace longhaul::jinja
