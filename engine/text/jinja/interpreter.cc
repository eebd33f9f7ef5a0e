#include <string.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/quoted.h"
#include "engine/text/jinja/jinja.h"
#include "engine/text/trim.h"

namespace longhaul::jinja {
namespace {

// Bounds the work of a run: bytes that are read or made, plus a constant for each step; a hundred times what real
// templates need for the conversations that chat_style tries.
constexpr size_t kMaxWork = size_t{1} << 20, kStep = 16, kLoopStep = 256;

class Interpreter {
 public:
  explicit Interpreter(Map variables) { scopes_.push_back(std::move(variables)); }

  absl::StatusOr<std::string> Run(const Node& root) {
    Evaluate(root);
    if (!error_.ok()) return error_;
    return std::move(out_);
  }

 private:
  template <typename... Parts>
  Value Fail(const Parts&... parts) {
    if (error_.ok()) error_ = absl::InvalidArgumentError(absl::StrCat("line ", line_, ": ", parts...));
    return Value();
  }

  // Adds work; false, with an error, once the bound is passed. Call it before what takes time or memory.
  bool Spend(size_t bytes) {
    work_ += bytes;
    if (work_ > kMaxWork) Fail("the template does too much");
    return error_.ok();
  }

  // Evaluates an expression or runs a statement. An undefined value once an error has occurred.
  Value Evaluate(const Node& node) {
    if (!Spend(kStep)) return Value();
    line_ = node.line;
    switch (node.kind) {
      case NodeKind::kBlock:
        for (const NodePtr& child : node.children) Evaluate(*child);
        return Value();
      case NodeKind::kText:
        if (Spend(node.text.size())) out_ += node.text;
        return Value();
      case NodeKind::kOutput:
        out_ += ToText(Evaluate(*node.children[0]));
        return Value();
      case NodeKind::kFor:
        return Loop(node, Evaluate(*node.children[0]));
      case NodeKind::kSet:
        scopes_.back()[node.text] = Evaluate(*node.children[0]);
        return Value();
      case NodeKind::kSetMember:
        return SetMember(node.text, EvaluateAll(node));
      case NodeKind::kConstant:
        return node.value;
      case NodeKind::kName:
        return Lookup(node.text);
      case NodeKind::kItem:
        return Item(EvaluateAll(node));
      case NodeKind::kSlice:
        return Slice(EvaluateAll(node));
      case NodeKind::kCall:
        return Call(node);
      case NodeKind::kNot:
        return Value(!Truth(Evaluate(*node.children[0])));
      case NodeKind::kBinary:
        return Binary(node);
      case NodeKind::kConditional:
        return Evaluate(*node.children[Truth(Evaluate(*node.children[0])) ? 1 : 2]);
      case NodeKind::kList: {
        List list = EvaluateAll(node);
        for (const Value& item : list) Holdable(item);
        return Value(std::move(list));
      }
      default:
        return Fail(node.text, " is not supported");
    }
  }

  Value Loop(const Node& node, const Value& all) {
    if (!error_.ok() || all.undefined()) return Value();
    if (all.list() == nullptr || node.text.empty()) return Fail("this loop is not supported");
    const int64_t n = std::ssize(*all.list());
    for (int64_t i = 0; i < n && Spend(kLoopStep); ++i) {
      auto loop = std::make_shared<Map>(Map{{"index", Value(i + 1)},
                                            {"index0", Value(i)},
                                            {"first", Value(i == 0)},
                                            {"last", Value(i + 1 == n)},
                                            {"length", Value(n)}});
      scopes_.push_back({{"loop", Value(std::move(loop))}, {node.text, (*all.list())[static_cast<size_t>(i)]}});
      Evaluate(*node.children[1]);
      scopes_.pop_back();
    }
    return Value();
  }

  Value SetMember(const std::string& member, const List& operands) {
    if (operands[0].space() == nullptr) return Fail("setting ", Quoted(member), " is not supported");
    if (Holdable(operands[1])) (*operands[0].space())[member] = operands[1];
    return Value();
  }

  Value Lookup(const std::string& name) {
    for (auto scope = scopes_.rbegin(); scope != scopes_.rend() && Spend(kStep); ++scope) {
      if (const auto found = scope->find(name); found != scope->end()) return found->second;
    }
    return Value();
  }

  List EvaluateAll(const Node& node) {
    List values;
    for (const NodePtr& child : node.children) values.push_back(Evaluate(*child));
    return values;
  }

  // Fails for a value that could contain itself, or nest so deep that to free it would overflow the stack.
  bool Holdable(const Value& value) {
    if (value.space() != nullptr || value.list() != nullptr) Fail("a list or a namespace in another is not supported");
    return error_.ok();
  }

  Value Item(const List& operands) {
    const Value &object = operands[0], &index = operands[1];
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

  // As in Python, indices outside are clamped.
  Value Slice(const List& operands) {
    const List* all = operands[0].list();
    if (all == nullptr) return Fail("a slice of anything but a list is not supported");
    const int64_t n = std::ssize(*all);
    int64_t parts[3] = {0, n, 1};
    for (size_t i = 0; i + 1 < operands.size(); ++i) {
      const Value& part = operands[i + 1];
      if (part.none()) continue;
      if (part.number() == nullptr) return Fail("a slice by what is no number");
      parts[i] = *part.number();
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
    const std::string& name = node.text;
    const List values = EvaluateAll(node);
    if (!error_.ok()) return Value();
    if (name == "namespace()" && values.size() == node.names.size()) {
      auto space = std::make_shared<Map>();
      for (size_t i = 0; i < values.size() && Holdable(values[i]); ++i) (*space)[node.names[i]] = values[i];
      return Value(std::move(space));
    }
    if (name == "raise_exception()" && values.size() == 1) {
      const std::string why = ToText(values[0]);
      if (error_.ok()) error_ = absl::FailedPreconditionError(why);
      return Value();
    }
    if (values.size() == 1) return CallOfOne(name, values[0]);
    if (values.size() == 2 && node.names.empty()) {
      if (name == "|default") return values[0].undefined() ? values[1] : values[0];
      const std::string *text = values[0].text(), *part = values[1].text();
      const bool texts = text != nullptr && part != nullptr && Spend(part->size());
      if (texts && name == ".startswith()") return Value(text->starts_with(*part));
      if (texts && name == ".endswith()") return Value(text->ends_with(*part));
    }
    return Fail(Quoted(name), " is not supported here");
  }

  Value CallOfOne(const std::string& name, const Value& value) {
    if (name == "is defined") return Value(!value.undefined());
    if (name == "is none") return Value(value.none());
    if (name == "is string") return Value(value.text() != nullptr);
    if (name == "is mapping") return Value(value.map() != nullptr);
    if (name == "is iterable") {
      return Value(value.undefined() || value.text() != nullptr || value.list() != nullptr || value.map() != nullptr);
    }
    const bool trims = name == "|trim" || (name == ".strip()" && value.text() != nullptr);
    if (trims) return Value(std::string(Trim(ToText(value))));
    if (const List* list = value.list()) {
      if (name == "|length") return Value(std::ssize(*list));
      if (name == "|first") return list->empty() ? Value() : list->front();
      if (name == "|last") return list->empty() ? Value() : list->back();
    }
    return Fail(Quoted(name), " is not supported here");
  }

  Value Binary(const Node& node) {
    const std::string& op = node.text;
    const Value left = Evaluate(*node.children[0]);
    if (op == "and" || op == "or") return Truth(left) == (op == "or") ? left : Evaluate(*node.children[1]);
    const Value right = Evaluate(*node.children[1]);
    if (!error_.ok()) return Value();
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
    if (left.list() != nullptr || left.map() != nullptr) Fail("comparing lists or maps is not supported");
    return left.held == right.held;
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

  // The text that a template writes for a value.
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
