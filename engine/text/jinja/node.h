#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

namespace longhaul::jinja {

struct Value;
using List = std::vector<Value>;
using Map = std::map<std::string, Value>;

using Undefined = std::monostate;
using None = std::nullptr_t;

// What an expression of a template comes to. Texts, lists and maps are shared, so that a copy costs nothing: only a
// namespace ever changes.
struct Value {
  std::variant<Undefined, None, bool, int64_t, std::shared_ptr<const std::string>, std::shared_ptr<const List>,
               std::shared_ptr<const Map>, std::shared_ptr<Map>>
      held;

  Value() = default;
  Value(None none) : held(none) {}
  Value(bool truth) : held(truth) {}
  Value(int64_t number) : held(number) {}
  Value(std::string text) : held(std::make_shared<const std::string>(std::move(text))) {}
  Value(const char* text) : Value(std::string(text)) {}
  Value(List list) : held(std::make_shared<const List>(std::move(list))) {}
  Value(Map map) : held(std::make_shared<const Map>(std::move(map))) {}
  Value(std::shared_ptr<Map> space) : held(std::move(space)) {}

  bool undefined() const { return std::holds_alternative<Undefined>(held); }
  bool none() const { return std::holds_alternative<None>(held); }
  const bool* boolean() const { return std::get_if<bool>(&held); }
  const int64_t* number() const { return std::get_if<int64_t>(&held); }
  const std::string* text() const { return Shared<const std::string>(); }
  const List* list() const { return Shared<const List>(); }
  const Map* map() const { return Shared<const Map>(); }
  Map* space() const { return Shared<Map>(); }  // a namespace, which can change

 private:
  template <typename T>
  T* Shared() const {
    const auto* shared = std::get_if<std::shared_ptr<T>>(&held);
    return shared == nullptr ? nullptr : shared->get();
  }
};

enum class NodeKind : uint8_t {
  // Statements, which come to nothing. Those with a body hold it as a kBlock.
  kBlock,        // children: statements
  kText,         // text
  kOutput,       // children: expression
  kFor,          // text: the variable, empty when it is not supported; children: list, block
  kSet,          // text: the variable; children: value
  kSetMember,    // text: member; children: namespace, value
  kUnsupported,  // text: what it is; an error when it is reached
  // Expressions.
  kConstant,  // value
  kName,      // text
  kItem,      // children: object, index; of a member a constant text
  kSlice,     // children: object, begin, end and perhaps step; None where one is not given
  kCall,      // text: "f()", a method "x.f()" as ".f()", a filter as "|f", a test as "is f"; children: the value unless
              // it is a function's, arguments; names: of the last arguments, which are named
  kNot,       // children: value
  kBinary,    // text: the operator; children: left, right
  kConditional,  // also the statement; children: condition, value, other
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
