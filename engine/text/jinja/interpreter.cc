#include "engine/text/jinja/interpreter.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "engine/base/quoted.h"
#include "engine/base/strings.h"
#include "engine/text/trim.h"

namespace longhaul::jinja {
namespace {

// A hundred times what real templates need for the conversations that are tried.
constexpr int64_t kMaxSteps = 100'000;
constexpr size_t kMaxBytes = size_t{1} << 20;

}  // namespace

absl::StatusOr<std::string> Interpreter::Run(const Node& root) {
  Execute(root);
  if (!error_.ok()) return error_;
  return std::move(out_);
}

bool Interpreter::Spend(size_t bytes) {
  bytes_ += bytes;
  if (++steps_ > kMaxSteps || bytes_ > kMaxBytes) Fail("the template does too much");
  return error_.ok();
}

void Interpreter::Execute(const Node& node) {
  if (!Spend(0)) return;
  line_ = node.line;
  switch (node.kind) {
    case NodeKind::kBlock:
      for (const NodePtr& child : node.children) Execute(*child);
      return;
    case NodeKind::kText:
      if (Spend(node.text.size())) out_ += node.text;
      return;
    case NodeKind::kOutput: {
      const std::string text = ToText(Evaluate(*node.children[0]));
      if (Spend(text.size())) out_ += text;
      return;
    }
    case NodeKind::kIf:
      return ExecuteIf(node);
    case NodeKind::kFor:
      return ExecuteFor(node);
    case NodeKind::kSet:
      scopes_.back()[node.text] = Evaluate(*node.children[0]);
      return;
    case NodeKind::kSetMember:
      return ExecuteSetMember(node);
    default:
      Fail(node.text, " is not supported");
  }
}

void Interpreter::ExecuteIf(const Node& node) {
  const size_t pairs = node.children.size() / 2;
  for (size_t i = 0; i < pairs; ++i) {
    if (Truth(Evaluate(*node.children[2 * i]))) return Execute(*node.children[2 * i + 1]);
    if (!error_.ok()) return;
  }
  if (node.children.size() % 2 == 1) Execute(*node.children.back());
}

void Interpreter::ExecuteFor(const Node& node) {
  const Value all = Evaluate(*node.children[0]);
  if (!error_.ok() || all.undefined()) return;
  if (all.list() == nullptr || node.text.empty()) {
    Fail("a loop over anything but a list is not supported");
    return;
  }
  List items;
  for (const Value& item : *all.list()) {
    scopes_.push_back({{node.text, item}});
    if (node.children.size() < 3 || Truth(Evaluate(*node.children[2]))) items.push_back(item);
    scopes_.pop_back();
    if (!Spend(0)) return;
  }
  const int64_t n = std::ssize(items);
  for (int64_t i = 0; i < n && error_.ok(); ++i) {
    const auto at = [&](int64_t index) {
      return index >= 0 && index < n ? items[static_cast<size_t>(index)] : Value();
    };
    Map loop = {{"index", Value(i + 1)},         {"index0", Value(i)},    {"first", Value(i == 0)},
                {"last", Value(i + 1 == n)},     {"length", Value(n)},    {"revindex", Value(n - i)},
                {"revindex0", Value(n - i - 1)}, {"previtem", at(i - 1)}, {"nextitem", at(i + 1)}};
    scopes_.push_back({{"loop", Value(std::move(loop))}, {node.text, at(i)}});
    Execute(*node.children[1]);
    scopes_.pop_back();
  }
}

void Interpreter::ExecuteSetMember(const Node& node) {
  const Value space = Evaluate(*node.children[0]);
  Value value = Evaluate(*node.children[1]);
  // A namespace is given plain values alone, so that none ever holds itself.
  const bool plain = value.list() == nullptr && value.map() == nullptr && value.space() == nullptr;
  if (space.space() == nullptr || !plain) {
    Fail("setting ", Quoted(node.text), " is not supported");
  } else {
    space.space()->members[node.text] = std::move(value);
  }
}

Value Interpreter::Lookup(const std::string& name) {
  for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
    if (const auto found = scope->find(name); found != scope->end()) return found->second;
  }
  return Value();
}

Value Interpreter::Made(std::string text) {
  return Spend(text.size()) ? Value(std::move(text)) : Value();
}

Value Interpreter::Made(List list) {
  return Spend(list.size() * sizeof(Value)) ? Value(std::move(list)) : Value();
}

Value Interpreter::Evaluate(const Node& node) {
  if (!Spend(0)) return Value();
  line_ = node.line;
  switch (node.kind) {
    case NodeKind::kConstant:
      return node.value;
    case NodeKind::kName:
      return Lookup(node.text);
    case NodeKind::kMember:
      return Member(node);
    case NodeKind::kItem:
      return Item(node);
    case NodeKind::kSlice:
      return Slice(node);
    case NodeKind::kCall:
      return Call(node);
    case NodeKind::kFilter:
      return Filter(node);
    case NodeKind::kTest:
      return Test(node);
    case NodeKind::kNot:
      return Value(!Truth(Evaluate(*node.children[0])));
    case NodeKind::kNegative: {
      const Value value = Evaluate(*node.children[0]);
      if (value.number() == nullptr) return Fail("a minus before what is no number");
      return Compute("-", 0, *value.number());
    }
    case NodeKind::kBinary:
      return Binary(node);
    case NodeKind::kConditional:
      return Evaluate(*node.children[Truth(Evaluate(*node.children[0])) ? 1 : 2]);
    case NodeKind::kList: {
      List list;
      for (const NodePtr& child : node.children) list.push_back(Evaluate(*child));
      return Value(std::move(list));
    }
    default:
      return Fail(node.text, " is not supported");
  }
}

Value Interpreter::Member(const Node& node) {
  const Value object = Evaluate(*node.children[0]);
  if (object.undefined() || object.none()) return Fail("member ", Quoted(node.text), " of what is not defined");
  const Map* members = object.space() != nullptr ? &object.space()->members : object.map();
  if (members == nullptr) return Value();
  const auto found = members->find(node.text);
  return found == members->end() ? Value() : found->second;
}

Value Interpreter::Item(const Node& node) {
  const Value object = Evaluate(*node.children[0]);
  const Value index = Evaluate(*node.children[1]);
  if (!error_.ok()) return Value();
  if (object.map() != nullptr && index.text() != nullptr) {
    const auto found = object.map()->find(*index.text());
    return found == object.map()->end() ? Value() : found->second;
  }
  if (object.list() == nullptr || index.number() == nullptr) return Fail("this subscript is not supported");
  const int64_t n = std::ssize(*object.list());
  const int64_t at = *index.number() < 0 ? *index.number() + n : *index.number();
  return at >= 0 && at < n ? (*object.list())[static_cast<size_t>(at)] : Value();
}

// As Python's: what lies outside is cut off.
Value Interpreter::Slice(const Node& node) {
  const Value object = Evaluate(*node.children[0]);
  if (object.list() == nullptr) return Fail("a slice of anything but a list is not supported");
  const int64_t n = std::ssize(*object.list());
  int64_t parts[3] = {0, n, 1};
  for (size_t i = 0; i < 3; ++i) {
    const Value part = Evaluate(*node.children[i + 1]);
    if (part.none()) continue;
    if (part.number() == nullptr) return Fail("a slice by what is no number");
    parts[i] = *part.number();
    if (i < 2) parts[i] = std::clamp<int64_t>(parts[i] < 0 ? parts[i] + n : parts[i], 0, n);
  }
  const auto [begin, end, step] = parts;
  if (step != 1 && (step != -1 || begin != 0 || end != n)) return Fail("this slice is not supported");
  List list(object.list()->begin() + begin, object.list()->begin() + std::max(begin, end));
  if (step == -1) std::reverse(list.begin(), list.end());
  return Made(std::move(list));
}

std::vector<Value> Interpreter::Arguments(const Node& node) {
  std::vector<Value> arguments;
  for (const NodePtr& child : std::span(node.children).subspan(1)) arguments.push_back(Evaluate(*child));
  return arguments;
}

Value Interpreter::Call(const Node& node) {
  const Node& callee = *node.children[0];
  if (callee.kind == NodeKind::kMember) return CallMethod(node, callee);
  if (callee.kind != NodeKind::kName) return Fail("this call is not supported");
  const std::vector<Value> arguments = Arguments(node);
  if (!error_.ok()) return Value();
  if (callee.text == "raise_exception" && arguments.size() == 1) {
    error_ = absl::FailedPreconditionError(ToText(arguments[0]));
    return Value();
  }
  if (callee.text == "namespace" && arguments.size() == node.names.size()) {
    auto space = std::make_shared<Namespace>();
    for (size_t i = 0; i < arguments.size(); ++i) space->members[node.names[i]] = arguments[i];
    return Value(std::move(space));
  }
  return Fail("the function ", Quoted(callee.text), " is not supported");
}

Value Interpreter::CallMethod(const Node& node, const Node& member) {
  const Value object = Evaluate(*member.children[0]);
  const std::vector<Value> arguments = Arguments(node);
  const std::string& name = member.text;
  if (!error_.ok()) return Value();
  if (object.map() != nullptr && name == "get" && !arguments.empty() && arguments[0].text() != nullptr) {
    const auto found = object.map()->find(*arguments[0].text());
    if (found != object.map()->end()) return found->second;
    return arguments.size() > 1 ? arguments[1] : Value(None{});
  }
  if (object.text() == nullptr) return Fail("the method ", Quoted(name), " is not supported here");
  const std::string& text = *object.text();
  if (!Spend(text.size())) return Value();
  if (arguments.empty()) {
    if (name == "strip") return Value(std::string(Trim(text)));
    if (name == "lstrip") return Value(std::string(TrimFront(text)));
    if (name == "rstrip") return Value(std::string(TrimBack(text)));
  }
  const std::string* first = arguments.size() == 1 ? arguments[0].text() : nullptr;
  if (first == nullptr) return Fail("the method ", Quoted(name), " is not supported");
  if (name == "startswith") return Value(text.starts_with(*first));
  if (name == "endswith") return Value(text.ends_with(*first));
  if (name == "split" && !first->empty()) {
    List parts;
    for (const absl::string_view part : absl::StrSplit(text, absl::ByString(*first))) {
      parts.emplace_back(std::string(part));
    }
    return Made(std::move(parts));
  }
  const bool ascii = std::all_of(first->begin(), first->end(), [](char c) { return static_cast<signed char>(c) >= 0; });
  if ((name == "strip" || name == "lstrip" || name == "rstrip") && ascii) {
    const size_t begin = name == "rstrip" ? 0 : std::min(text.find_first_not_of(*first), text.size());
    const size_t end = name == "lstrip" ? text.size() : text.find_last_not_of(*first) + 1;
    return Value(begin < end ? text.substr(begin, end - begin) : std::string());
  }
  return Fail("the method ", Quoted(name), " is not supported");
}

Value Interpreter::Filter(const Node& node) {
  const Value value = Evaluate(*node.children[0]);
  const std::vector<Value> arguments = Arguments(node);
  const std::string& name = node.text;
  if (!error_.ok()) return Value();
  if (name == "default" || name == "d") {
    return value.undefined() && !arguments.empty() ? arguments[0] : value;
  }
  if (name == "join" && value.list() != nullptr) {
    std::vector<std::string> parts;
    for (const Value& part : *value.list()) parts.push_back(ToText(part));
    std::string joined = absl::StrJoin(parts, arguments.empty() ? "" : ToText(arguments[0]));
    return Made(std::move(joined));
  }
  if (!arguments.empty()) return Fail("the filter ", Quoted(name), " with these arguments is not supported");
  if (name == "length" || name == "count") {
    if (value.list() != nullptr) return Value(static_cast<int64_t>(value.list()->size()));
  } else if (name == "list" && value.list() != nullptr) {
    return value;
  } else if (name == "first" && value.list() != nullptr) {
    return value.list()->empty() ? Value() : value.list()->front();
  } else if (name == "last" && value.list() != nullptr) {
    return value.list()->empty() ? Value() : value.list()->back();
  } else if (name == "safe" || name == "string") {
    return Made(ToText(value));
  } else if (name == "trim") {
    return Made(std::string(Trim(ToText(value))));
  } else if (value.text() != nullptr &&
             (name == "upper" || name == "lower" || name == "capitalize" || name == "title")) {
    std::string text = *value.text();
    const bool ascii = std::all_of(text.begin(), text.end(), [](char c) { return static_cast<signed char>(c) >= 0; });
    if (!ascii || (name == "title" && text.find_first_of(" -({[<\t\n") != std::string::npos)) {
      return Fail("the filter ", Quoted(name), " is not supported for this text");
    }
    absl::AsciiStrToLower(&text);
    if (name == "upper") absl::AsciiStrToUpper(&text);
    if (!text.empty() && name != "lower") text[0] = absl::ascii_toupper(static_cast<unsigned char>(text[0]));
    return Made(std::move(text));
  }
  return Fail("the filter ", Quoted(name), " is not supported");
}

Value Interpreter::Test(const Node& node) {
  const Value value = Evaluate(*node.children[0]);
  const std::vector<Value> arguments = Arguments(node);
  const std::string& name = node.text;
  if (!error_.ok()) return Value();
  if (arguments.size() == 1 && (name == "equalto" || name == "eq")) return Value(Equal(value, arguments[0]));
  if (arguments.size() == 1 && name == "in") return Value(Contains(arguments[0], value));
  if (!arguments.empty()) return Fail("the test ", Quoted(name), " with these arguments is not supported");
  if (name == "defined") return Value(!value.undefined());
  if (name == "undefined") return Value(value.undefined());
  if (name == "none") return Value(value.none());
  if (name == "string") return Value(value.text() != nullptr);
  if (name == "mapping") return Value(value.map() != nullptr);
  if (name == "boolean") return Value(value.boolean() != nullptr);
  if (name == "number" || name == "integer") return Value(value.number() != nullptr);
  if (name == "true") return Value(value.boolean() != nullptr && *value.boolean());
  if (name == "false") return Value(value.boolean() != nullptr && !*value.boolean());
  if (name == "iterable" || name == "sequence") {
    return Value(value.text() != nullptr || value.list() != nullptr || value.map() != nullptr);
  }
  if ((name == "odd" || name == "even") && value.number() != nullptr) {
    return Value((*value.number() % 2 != 0) == (name == "odd"));
  }
  return Fail("the test ", Quoted(name), " is not supported");
}

Value Interpreter::Binary(const Node& node) {
  const std::string& op = node.text;
  Value left = Evaluate(*node.children[0]);
  if (op == "and" || op == "or") return Truth(left) == (op == "or") ? left : Evaluate(*node.children[1]);
  const Value right = Evaluate(*node.children[1]);
  if (!error_.ok()) return Value();
  line_ = node.line;
  if (op == "==") return Value(Equal(left, right));
  if (op == "!=") return Value(!Equal(left, right));
  if (op == "in") return Value(Contains(right, left));
  if (op == "~") {
    std::string joined = ToText(left) + ToText(right);
    return Made(std::move(joined));
  }
  if (left.number() != nullptr && right.number() != nullptr) return Compute(op, *left.number(), *right.number());
  if (op == "+") return Add(left, right);
  return Fail("'", op, "' of these values is not supported");
}

Value Interpreter::Add(const Value& left, const Value& right) {
  if (left.text() != nullptr && right.text() != nullptr) {
    std::string joined = *left.text() + *right.text();
    return Made(std::move(joined));
  }
  if (left.list() != nullptr && right.list() != nullptr) {
    List joined = *left.list();
    joined.insert(joined.end(), right.list()->begin(), right.list()->end());
    return Made(std::move(joined));
  }
  return Fail("'+' of these values is not supported");
}

Value Interpreter::Compute(const std::string& op, int64_t left, int64_t right) {
  int64_t result = 0;
  if (op == "<") return Value(left < right);
  if (op == ">") return Value(left > right);
  if (op == "<=") return Value(left <= right);
  if (op == ">=") return Value(left >= right);
  if (op == "+" && !__builtin_add_overflow(left, right, &result)) return Value(result);
  if (op == "-" && !__builtin_sub_overflow(left, right, &result)) return Value(result);
  if (op == "*" && !__builtin_mul_overflow(left, right, &result)) return Value(result);
  // Of negative numbers Python's are others.
  if (op == "%" && left >= 0 && right > 0) return Value(left % right);
  if (op == "//" && left >= 0 && right > 0) return Value(left / right);
  return Fail("'", op, "' of these numbers is not supported");
}

bool Interpreter::Equal(const Value& left, const Value& right) {
  if (left.held.index() != right.held.index()) return false;
  if (const std::string* text = left.text()) return *text == *right.text();
  if (const int64_t* number = left.number()) return *number == *right.number();
  if (const bool* truth = left.boolean()) return *truth == *right.boolean();
  if (!left.undefined() && !left.none()) Fail("comparing lists or maps is not supported");
  return error_.ok();
}

bool Interpreter::Contains(const Value& all, const Value& one) {
  if (all.undefined()) return false;
  if (all.text() != nullptr && one.text() != nullptr) return all.text()->find(*one.text()) != std::string::npos;
  if (all.map() != nullptr && one.text() != nullptr) return all.map()->contains(*one.text());
  if (all.list() != nullptr && Spend(all.list()->size() * sizeof(Value))) {
    return std::any_of(all.list()->begin(), all.list()->end(), [&](const Value& item) { return Equal(item, one); });
  }
  Fail("'in' of these values is not supported");
  return false;
}

bool Interpreter::Truth(const Value& value) {
  if (value.boolean() != nullptr) return *value.boolean();
  if (value.number() != nullptr) return *value.number() != 0;
  if (value.text() != nullptr) return !value.text()->empty();
  if (value.list() != nullptr) return !value.list()->empty();
  return value.space() != nullptr || (value.map() != nullptr && !value.map()->empty());
}

std::string Interpreter::ToText(const Value& value) {
  if (value.text() != nullptr) return *value.text();
  if (value.undefined()) return "";
  if (value.none()) return "None";
  if (value.boolean() != nullptr) return *value.boolean() ? "True" : "False";
  if (value.number() != nullptr) return absl::StrCat(*value.number());
  Fail("writing a list or a map is not supported");
  return "";
}

}  // namespace longhaul::jinja
