#include "engine/text/jinja/interpreter.h"

#include <string.h>

#include <algorithm>
#include <iterator>
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/quoted.h"
#include "engine/text/trim.h"

namespace longhaul::jinja {
namespace {

// Bytes that are read or made; a step counts as some. A hundred times what real templates need for what is tried.
constexpr size_t kMaxWork = size_t{1} << 20, kStep = 16, kLoopStep = 256;

class Interpreter {
 public:
  explicit Interpreter(Map variables) { scopes_.push_back(std::move(variables)); }

  absl::StatusOr<std::string> Run(const Node& root) {
    Execute(root);
    if (!error_.ok()) return error_;
    return std::move(out_);
  }

 private:
  template <typename... Parts>
  Value Fail(const Parts&... parts) {
    if (error_.ok()) error_ = absl::InvalidArgumentError(absl::StrCat("line ", line_, ": ", parts...));
    return Value();
  }

  // False, and an error, once the bound is passed. To call before what takes time or memory.
  bool Spend(size_t bytes) {
    work_ += bytes;
    if (work_ > kMaxWork) Fail("the template does too much");
    return error_.ok();
  }

  // --- Statements ---

  void Execute(const Node& node) {
    if (!Spend(kStep)) return;
    line_ = node.line;
    switch (node.kind) {
      case NodeKind::kBlock:
        for (const NodePtr& child : node.children) Execute(*child);
        return;
      case NodeKind::kText:
        if (Spend(node.text.size())) out_ += node.text;
        return;
      case NodeKind::kOutput:
        out_ += ToText(Evaluate(*node.children[0]));
        return;
      case NodeKind::kIf:
        return ExecuteIf(node);
      case NodeKind::kFor:
        return ExecuteFor(node);
      case NodeKind::kSet:
        scopes_.back()[node.text] = Evaluate(*node.children[0]);
        return;
      case NodeKind::kSetMember: {
        const Value space = Evaluate(*node.children[0]);
        Value value = Evaluate(*node.children[1]);
        if (space.space() == nullptr) {
          Fail("setting ", Quoted(node.text), " is not supported");
        } else if (Holdable(value)) {
          (*space.space())[node.text] = std::move(value);
        }
        return;
      }
      default:
        Fail(node.text, " is not supported");
    }
  }

  void ExecuteIf(const Node& node) {
    for (size_t i = 0; i + 1 < node.children.size(); i += 2) {
      if (Truth(Evaluate(*node.children[i]))) return Execute(*node.children[i + 1]);
      if (!error_.ok()) return;
    }
    if (node.children.size() % 2 == 1) Execute(*node.children.back());
  }

  void ExecuteFor(const Node& node) {
    const Value all = Evaluate(*node.children[0]);
    if (!error_.ok() || all.undefined()) return;
    if (all.list() == nullptr || node.text.empty()) {
      Fail("a loop over anything but a list is not supported");
      return;
    }
    List items;
    for (const Value& item : *all.list()) {
      if (!Spend(kLoopStep)) return;
      scopes_.push_back({{node.text, item}});
      if (node.children.size() < 3 || Truth(Evaluate(*node.children[2]))) items.push_back(item);
      scopes_.pop_back();
    }
    const int64_t n = std::ssize(items);
    for (int64_t i = 0; i < n && Spend(kLoopStep); ++i) {
      auto loop = std::make_shared<Map>(Map{{"index", Value(i + 1)},
                                            {"index0", Value(i)},
                                            {"first", Value(i == 0)},
                                            {"last", Value(i + 1 == n)},
                                            {"length", Value(n)}});
      scopes_.push_back({{"loop", Value(std::move(loop))}, {node.text, items[static_cast<size_t>(i)]}});
      Execute(*node.children[1]);
      scopes_.pop_back();
    }
  }

  // --- Expressions; an undefined value once an error is known ---

  Value Evaluate(const Node& node) {
    if (!Spend(kStep)) return Value();
    line_ = node.line;
    switch (node.kind) {
      case NodeKind::kConstant:
        return node.value;
      case NodeKind::kName:
        return Lookup(node.text);
      case NodeKind::kItem:
        return Item(Evaluate(*node.children[0]), Evaluate(*node.children[1]));
      case NodeKind::kSlice:
        return Slice(Evaluate(*node.children[0]), Arguments(node));
      case NodeKind::kCall:
        return Call(node);
      case NodeKind::kFilter:
        return Filter(node, Evaluate(*node.children[0]), Arguments(node));
      case NodeKind::kTest:
        return Test(node, Evaluate(*node.children[0]));
      case NodeKind::kNot:
        return Value(!Truth(Evaluate(*node.children[0])));
      case NodeKind::kBinary:
        return Binary(node);
      case NodeKind::kConditional:
        return Evaluate(*node.children[Truth(Evaluate(*node.children[0])) ? 1 : 2]);
      case NodeKind::kList: {
        List list;
        for (const NodePtr& child : node.children) {
          list.push_back(Evaluate(*child));
          if (list.back().list() != nullptr) return Fail("a list in a list is not supported");
          if (!Holdable(list.back())) return Value();
        }
        return Value(std::move(list));
      }
      default:
        return Fail(node.text, " is not supported");
    }
  }

  Value Lookup(const std::string& name) {
    for (auto scope = scopes_.rbegin(); scope != scopes_.rend() && Spend(kStep); ++scope) {
      if (const auto found = scope->find(name); found != scope->end()) return found->second;
    }
    return Value();
  }

  // All children but the first.
  std::vector<Value> Arguments(const Node& node) {
    std::vector<Value> arguments;
    for (const NodePtr& child : std::span(node.children).subspan(1)) arguments.push_back(Evaluate(*child));
    return arguments;
  }

  // An error for what could hold itself, or others so deep that to free them would overrun the stack.
  bool Holdable(const Value& value) {
    if (value.space() != nullptr) Fail("a namespace in another value is not supported");
    return error_.ok();
  }

  Value Item(const Value& object, const Value& index) {
    if (!error_.ok()) return Value();
    if (const List* list = object.list(); list != nullptr && index.number() != nullptr) {
      const int64_t at = *index.number() < 0 ? *index.number() + std::ssize(*list) : *index.number();
      return at >= 0 && at < std::ssize(*list) ? (*list)[static_cast<size_t>(at)] : Value();
    }
    const Map* members = object.space() != nullptr ? object.space() : object.map();
    if (index.text() == nullptr || members == nullptr || !Spend(index.text()->size())) {
      return Fail("this subscript or member is not supported");
    }
    if (const auto found = members->find(*index.text()); found != members->end()) return found->second;
    return object.map() != nullptr ? Value() : Fail("the member ", Quoted(*index.text()), " is not supported");
  }

  // As Python's: what lies outside is cut off.
  Value Slice(const Value& object, const std::vector<Value>& given) {
    const List* all = object.list();
    if (all == nullptr) return Fail("a slice of anything but a list is not supported");
    const int64_t n = std::ssize(*all);
    int64_t parts[3] = {0, n, 1};
    for (size_t i = 0; i < given.size(); ++i) {
      if (given[i].none()) continue;
      if (given[i].number() == nullptr) return Fail("a slice by what is no number");
      parts[i] = *given[i].number();
      if (i < 2) parts[i] = std::clamp<int64_t>(parts[i] < 0 ? parts[i] + n : parts[i], 0, n);
    }
    const auto [begin, end, step] = parts;
    if (step != 1 && (step != -1 || begin != 0 || end != n)) return Fail("this slice is not supported");
    if (!Spend(all->size() * sizeof(Value))) return Value();
    List list(all->begin() + begin, all->begin() + std::max(begin, end));
    if (step == -1) std::reverse(list.begin(), list.end());
    return Value(std::move(list));
  }

  Value Call(const Node& node) {
    const Node& callee = *node.children[0];
    const std::vector<Value> arguments = Arguments(node);
    const bool method = callee.kind == NodeKind::kItem && callee.children[1]->value.text() != nullptr;
    if (method) return CallMethod(Evaluate(*callee.children[0]), *callee.children[1]->value.text(), arguments);
    if (callee.text == "namespace" && arguments.size() == node.names.size()) {
      auto space = std::make_shared<Map>();
      for (size_t i = 0; i < arguments.size() && Holdable(arguments[i]); ++i) {
        (*space)[node.names[i]] = arguments[i];
      }
      return Value(std::move(space));
    }
    if (callee.text != "raise_exception" || arguments.size() != 1) {
      return Fail("the function ", Quoted(callee.text), " is not supported");
    }
    const std::string why = ToText(arguments[0]);
    if (error_.ok()) error_ = absl::FailedPreconditionError(why);
    return Value();
  }

  Value CallMethod(const Value& object, const std::string& name, const std::vector<Value>& arguments) {
    const std::string* first = arguments.size() == 1 ? arguments[0].text() : nullptr;
    if (const std::string* text = object.text(); text != nullptr && Spend(text->size())) {
      if (name == "strip" && arguments.empty()) return Value(std::string(Trim(*text)));
      if (name == "startswith" && first != nullptr) return Value(text->starts_with(*first));
      if (name == "endswith" && first != nullptr) return Value(text->ends_with(*first));
    }
    return Fail("the method ", Quoted(name), " is not supported here");
  }

  Value Filter(const Node& node, const Value& value, const std::vector<Value>& arguments) {
    const std::string& name = node.text;
    const bool known = name == "default" ? arguments.size() == 1 && node.names.empty() : arguments.empty();
    if (known && name == "default") return value.undefined() ? arguments[0] : value;
    if (known && name == "trim") return Value(std::string(Trim(ToText(value))));
    if (const List* list = value.list(); known && list != nullptr) {
      if (name == "length") return Value(std::ssize(*list));
      if (name == "first") return list->empty() ? Value() : list->front();
      if (name == "last") return list->empty() ? Value() : list->back();
    }
    return Fail("the filter ", Quoted(name), " is not supported here");
  }

  Value Test(const Node& node, const Value& value) {
    const std::string& name = node.text;
    if (node.children.size() > 1) return Fail("the test ", Quoted(name), " with these arguments is not supported");
    if (name == "defined") return Value(!value.undefined());
    if (name == "none") return Value(value.none());
    if (name == "string") return Value(value.text() != nullptr);
    if (name == "mapping") return Value(value.map() != nullptr);
    if (name == "iterable") {
      return Value(value.undefined() || value.text() != nullptr || value.list() != nullptr || value.map() != nullptr);
    }
    return Fail("the test ", Quoted(name), " is not supported");
  }

  Value Binary(const Node& node) {
    const std::string& op = node.text;
    const Value left = Evaluate(*node.children[0]);
    if (op == "and" || op == "or") return Truth(left) == (op == "or") ? left : Evaluate(*node.children[1]);
    const Value right = Evaluate(*node.children[1]);
    if (!error_.ok()) return Value();
    line_ = node.line;
    if (op == "==" || op == "!=") return Value(Equal(left, right) == (op == "=="));
    if (op == "in" || op == "not in") return Value(Contains(right, left) == (op == "in"));
    if (op == "~") return Value(ToText(left) + ToText(right));
    if (left.number() != nullptr && right.number() != nullptr) return Compute(op, *left.number(), *right.number());
    if (op == "+" && left.text() != nullptr && right.text() != nullptr) return Value(ToText(left) + ToText(right));
    if (op == "+" && left.list() != nullptr && right.list() != nullptr) {
      if (!Spend((left.list()->size() + right.list()->size()) * sizeof(Value))) return Value();
      List joined = *left.list();
      joined.insert(joined.end(), right.list()->begin(), right.list()->end());
      return Value(std::move(joined));
    }
    return Fail("'", op, "' of these values is not supported");
  }

  Value Compute(const std::string& op, int64_t left, int64_t right) {
    int64_t result = 0;
    if (op == "<") return Value(left < right);
    if (op == ">") return Value(left > right);
    if (op == "<=") return Value(left <= right);
    if (op == ">=") return Value(left >= right);
    if (op == "+" && !__builtin_add_overflow(left, right, &result)) return Value(result);
    if (op == "-" && !__builtin_sub_overflow(left, right, &result)) return Value(result);
    if (op == "%" && left >= 0 && right > 0) return Value(left % right);  // of negative numbers Python's is another
    return Fail("'", op, "' of these numbers is not supported");
  }

  bool Equal(const Value& left, const Value& right) {
    if (!Spend(kStep) || left.held.index() != right.held.index()) return false;
    if (const std::string* text = left.text()) return Spend(text->size()) && *text == *right.text();
    if (const int64_t* number = left.number()) return *number == *right.number();
    if (const bool* truth = left.boolean()) return *truth == *right.boolean();
    if (!left.undefined() && !left.none()) Fail("comparing lists or maps is not supported");
    return error_.ok();
  }

  bool Contains(const Value& all, const Value& one) {
    if (all.list() != nullptr) {
      return std::any_of(all.list()->begin(), all.list()->end(), [&](const Value& item) { return Equal(item, one); });
    }
    if (const std::string* part = one.text(); part != nullptr && Spend(part->size())) {
      if (all.map() != nullptr) return all.map()->contains(*part);
      if (const std::string* text = all.text(); text != nullptr && Spend(text->size())) {
        return memmem(text->data(), text->size(), part->data(), part->size()) != nullptr;  // takes linear time
      }
    }
    if (!all.undefined()) Fail("'in' of these values is not supported");
    return false;
  }

  bool Truth(const Value& value) {
    if (value.boolean() != nullptr) return *value.boolean();
    if (value.number() != nullptr) return *value.number() != 0;
    if (value.text() != nullptr) return !value.text()->empty();
    if (value.list() != nullptr) return !value.list()->empty();
    return value.space() != nullptr || (value.map() != nullptr && !value.map()->empty());
  }

  // As it is written.
  std::string ToText(const Value& value) {
    if (value.text() != nullptr) return Spend(value.text()->size()) ? *value.text() : std::string();
    if (value.undefined()) return "";
    if (value.none()) return "None";
    if (value.boolean() != nullptr) return *value.boolean() ? "True" : "False";
    if (value.number() != nullptr) return absl::StrCat(*value.number());
    Fail("writing a list or a map is not supported");
    return "";
  }

  std::vector<Map> scopes_;  // the innermost last
  std::string out_;
  absl::Status error_;
  int line_ = 0;
  size_t work_ = 0;
};

}  // namespace

absl::StatusOr<std::string> Render(const Node& root, Map variables) {
  return Interpreter(std::move(variables)).Run(root);
}

}  // namespace longhaul::jinja
