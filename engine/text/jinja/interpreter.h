#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "engine/text/jinja/node.h"

namespace longhaul::jinja {

// Runs the nodes of one template once.
class Interpreter {
 public:
  explicit Interpreter(Map variables) { scopes_.push_back(std::move(variables)); }

  // As JinjaTemplate::Render.
  absl::StatusOr<std::string> Run(const Node& root);

 private:
  // Statements.
  void Execute(const Node& node);
  void ExecuteIf(const Node& node);
  void ExecuteFor(const Node& node);
  void ExecuteSetMember(const Node& node);

  // Expressions; an undefined value once an error is known.
  Value Evaluate(const Node& node);
  Value Lookup(const std::string& name);
  Value Made(std::string text);  // a new text, within the bounds
  Value Made(List list);
  Value Member(const Node& node);
  Value Item(const Node& node);
  Value Slice(const Node& node);
  Value Call(const Node& node);
  Value CallMethod(const Node& node, const Node& member);
  Value Filter(const Node& node);
  Value Test(const Node& node);
  Value Binary(const Node& node);
  Value Add(const Value& left, const Value& right);
  Value Compute(const std::string& op, int64_t left, int64_t right);
  bool Equal(const Value& left, const Value& right);
  bool Contains(const Value& all, const Value& one);
  bool Truth(const Value& value);
  std::string ToText(const Value& value);          // as it is written
  std::vector<Value> Arguments(const Node& node);  // all children but the first

  template <typename... Parts>
  Value Fail(const Parts&... parts) {
    if (error_.ok()) error_ = absl::InvalidArgumentError(absl::StrCat("line ", line_, ": ", parts...));
    return Value();
  }
  // An error unless the bounds on work and on the length of a text hold.
  bool Spend(size_t bytes);

  std::vector<Map> scopes_;  // the innermost last
  std::string out_;
  absl::Status error_;
  int line_ = 0;
  int64_t steps_ = 0;
  size_t bytes_ = 0;  // of all texts that were made
};

}  // namespace longhaul::jinja
