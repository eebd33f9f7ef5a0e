#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/text/jinja/value.h"

namespace longhaul::jinja {

enum class NodeKind : uint8_t {
  // Statements. Those with a body hold it as a kBlock.
  kBlock,        // children: statements
  kText,         // text
  kOutput,       // children: expression
  kIf,           // children: condition, block, condition, block, ..., block of `else` if there is one
  kFor,          // text: the variable; children: list, block, and where there is one the condition of `if`
  kSet,          // text: the variable; children: value
  kSetMember,    // text: "namespace", member; children: namespace, value
  kUnsupported,  // text: what it is; an error when it is reached
  // Expressions.
  kConstant,     // value
  kName,         // text
  kItem,         // children: object, index; of a member a constant text
  kSlice,        // children: object, begin, end and perhaps step; a constant None where one is not given
  kCall,         // children: callee, arguments; names: of the last arguments, which are named
  kFilter,       // text; children: value, arguments; names
  kTest,         // text; children: value, arguments; names
  kNot,          // children: value
  kBinary,       // text: the operator; children: left, right
  kConditional,  // children: condition, value, other
  kList,         // children: items
};

struct Node {
  NodeKind kind;
  int line = 0;  // of the template, from 1
  int depth = 1;
  std::string text{};
  Value value{};
  std::vector<std::unique_ptr<Node>> children{};
  std::vector<std::string> names{};
};
using NodePtr = std::unique_ptr<Node>;

}  // namespace longhaul::jinja
