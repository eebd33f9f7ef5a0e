#include <algorithm>
#include <initializer_list>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "engine/base/quoted.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/text/jinja/jinja.h"
#include "engine/text/jinja/lexer.h"

namespace longhaul::jinja {
namespace {

constexpr int kMaxDepth = 200;
constexpr size_t kMaxBytes = 256 << 10, kMaxTokens = 20'000;

// Operator precedence, weakest first.
enum Binding { kNoOperator, kConditional, kOr, kAnd, kNot, kComparison, kSum, kJoin, kRemainder };

int BindingOf(std::string_view op) {
  static constexpr std::pair<std::string_view, Binding> kBindings[] = {
      {"if", kConditional},    {"or", kOr},        {"and", kAnd},       {"==", kComparison}, {"!=", kComparison},
      {"<", kComparison},      {">", kComparison}, {"<=", kComparison}, {">=", kComparison}, {"in", kComparison},
      {"not in", kComparison}, {"+", kSum},        {"-", kSum},         {"~", kJoin},        {"%", kRemainder}};
  for (const auto& [name, binding] : kBindings) {
    if (name == op) return binding;
  }
  return kNoOperator;
}

// A recursive descent parser. The first error is kept; from then on every token is a kEnd, so that all loops end.
class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  absl::StatusOr<NodePtr> Run() {
    NodePtr block = ParseBlock({});
    if (!error_.ok()) return error_;
    return block;
  }

 private:
  const Token& Peek() const { return error_.ok() ? tokens_[at_] : tokens_.back(); }
  bool Is(std::string_view word) const { return Peek().kind == TokenKind::kWord && Peek().text == word; }
  const Token& Take() {
    const Token& token = Peek();
    if (token.kind != TokenKind::kEnd) ++at_;
    return token;
  }
  bool Accept(std::string_view word) {
    const bool is = Is(word);
    if (is) ++at_;
    return is;
  }
  void Expect(std::string_view word) {
    if (!Accept(word)) Fail("unexpected ", Quoted(Peek().text));
  }
  std::string TakeName() {
    const char first = Peek().kind == TokenKind::kWord ? Peek().text[0] : ' ';
    if (absl::ascii_isalpha(static_cast<unsigned char>(first)) || first == '_') return Take().text;
    Fail("expected a name");
    return "";
  }

  template <typename... Parts>
  void Fail(const Parts&... parts) {
    if (!error_.ok()) return;
    error_ = absl::InvalidArgumentError(absl::StrCat("line ", Peek().line, ": ", parts...));
  }

  template <typename... Children>
  NodePtr Make(NodeKind kind, std::string text, Children... children) {
    auto node = std::make_unique<Node>(Node{.kind = kind, .line = Peek().line, .text = std::move(text)});
    (Append(*node, std::move(children)), ...);
    return node;
  }
  NodePtr Constant(Value value) {
    NodePtr node = Make(NodeKind::kConstant, "");
    node->value = std::move(value);
    return node;
  }
  void Append(Node& parent, NodePtr child) {
    parent.depth = std::max(parent.depth, child->depth + 1);
    if (parent.depth > kMaxDepth) Fail("nested too deep");
    parent.children.push_back(std::move(child));
  }

  // --- Statements ---

  // Parses up to a block tag that begins with one of `ends`; that name is not consumed.
  NodePtr ParseBlock(std::initializer_list<std::string_view> ends) {
    if (++depth_ > kMaxDepth) Fail("nested too deep");
    NodePtr block = Make(NodeKind::kBlock, "");
    bool ended = false;
    while (!ended && Peek().kind != TokenKind::kEnd) {
      const Token& token = Take();
      if (token.kind == TokenKind::kText) {
        Append(*block, Make(NodeKind::kText, token.text));
      } else if (token.kind == TokenKind::kOutputBegin) {
        Append(*block, Make(NodeKind::kOutput, "", ParseExpression()));
        Expect("}}");
      } else {
        ended = std::any_of(ends.begin(), ends.end(), [&](std::string_view end) { return Is(end); });
        if (!ended) Append(*block, ParseStatement());
      }
    }
    if (!ended && ends.size() > 0) Fail("'", ToAbsl(*(ends.end() - 1)), "' is missing");
    --depth_;
    return block;
  }

  // Parses the statements up to the tag `end`, and that tag.
  NodePtr ParseBody(std::string_view end) {
    Expect("%}");
    NodePtr body = ParseBlock({end});
    Take();
    Expect("%}");
    return body;
  }

  NodePtr ParseStatement() {
    const std::string name = TakeName();
    if (name == "if") return ParseIf();
    if (name == "for") return ParseFor();
    if (name == "set") return ParseSet();
    if (name != "macro") Fail("the statement ", Quoted(name), " is not supported");
    while (Peek().kind != TokenKind::kEnd && !Is("%}")) Take();
    ParseBody("endmacro");  // known templates use it for tools only
    return Make(NodeKind::kBlock, "");
  }

  NodePtr ParseIf() {
    if (++depth_ > kMaxDepth) Fail("nested too deep");
    NodePtr node = Make(NodeKind::kConditional, "", ParseExpression());
    Expect("%}");
    Append(*node, ParseBlock({"elif", "else", "endif"}));
    if (Accept("elif")) {
      Append(*node, ParseIf());
    } else if (Accept("else")) {
      Append(*node, ParseBody("endif"));
    } else {
      Append(*node, Constant(Value()));
      Take();
      Expect("%}");
    }
    --depth_;
    return node;
  }

  // With several variables or a condition it is not supported: known templates use that for tools only.
  NodePtr ParseFor() {
    std::string variable = TakeName();
    for (; Accept(","); TakeName()) variable.clear();
    Expect("in");
    NodePtr list = ParseBinary(kOr);
    if (Accept("if")) {
      ParseExpression();
      variable.clear();
    }
    return Make(NodeKind::kFor, std::move(variable), std::move(list), ParseBody("endfor"));
  }

  NodePtr ParseSet() {
    NodePtr node = Make(NodeKind::kSet, TakeName());
    if (Accept(".")) {
      node = Make(NodeKind::kSetMember, TakeName(), Make(NodeKind::kName, std::move(node->text)));
    } else if (Is("%}")) {
      ParseBody("endset");
      return Make(NodeKind::kUnsupported, "a block that is set");
    }
    Expect("=");
    Append(*node, ParseExpression());
    Expect("%}");
    return node;
  }

  // --- Expressions ---

  NodePtr ParseExpression() { return ParseBinary(kConditional); }

  // The next operator; some other text where none comes.
  std::string_view Operator() const {
    if (Peek().kind != TokenKind::kWord) return "";
    return Is("not") && tokens_[at_ + 1].text == "in" ? "not in" : std::string_view(Peek().text);
  }

  // Parses operators of precedence `least` or higher.
  NodePtr ParseBinary(int least) {
    if (++depth_ > kMaxDepth) Fail("nested too deep");
    NodePtr left = least <= kNot && Accept("not") ? Make(NodeKind::kNot, "", ParseBinary(kNot)) : ParseOperand();
    bool compared = false;
    for (int binding; (binding = BindingOf(Operator())) >= least;) {
      if (binding == kComparison && std::exchange(compared, true)) Fail("a chain of comparisons is not supported");
      std::string op(Operator());
      Take();
      if (op == "not in") Take();
      NodePtr right = ParseBinary(binding + 1);
      if (binding == kConditional) {
        NodePtr other = Accept("else") ? ParseExpression() : Constant(Value());
        left = Make(NodeKind::kConditional, "", std::move(right), std::move(left), std::move(other));
      } else {
        left = Make(NodeKind::kBinary, std::move(op), std::move(left), std::move(right));
      }
    }
    --depth_;
    return left;
  }

  // A value with its members, subscripts, calls, filters and tests.
  NodePtr ParseOperand() {
    NodePtr value = ParsePrimary();
    for (;;) {
      if (Accept(".")) {
        value = Make(NodeKind::kItem, "", std::move(value), Constant(TakeName()));
      } else if (Accept("[")) {
        value = ParseSubscript(std::move(value));
      } else if (Accept("(")) {
        value = MakeCall(std::move(value));
        ParseArguments(*value);
      } else if (Accept("|")) {
        value = Make(NodeKind::kCall, absl::StrCat("|", TakeName()), std::move(value));
        if (Accept("(")) ParseArguments(*value);
      } else if (Accept("is")) {
        const bool negated = Accept("not");
        value = Make(NodeKind::kCall, absl::StrCat("is ", TakeName()), std::move(value));
        if (Accept("(")) ParseArguments(*value);
        if (negated) value = Make(NodeKind::kNot, "", std::move(value));
      } else {
        return value;
      }
    }
  }

  NodePtr MakeCall(NodePtr callee) {
    if (callee->kind == NodeKind::kName) return Make(NodeKind::kCall, absl::StrCat(callee->text, "()"));
    const std::string* name = callee->kind == NodeKind::kItem ? callee->children[1]->value.text() : nullptr;
    if (name == nullptr) {
      Fail("this call is not supported");
      return callee;
    }
    return Make(NodeKind::kCall, absl::StrCat(".", *name, "()"), std::move(callee->children[0]));
  }

  NodePtr ParsePrimary() {
    const bool negative = Accept("-");  // before numbers alone
    if (negative || Peek().kind == TokenKind::kNumber) {
      int64_t number = 0;
      if (!absl::SimpleAtoi(Peek().text, &number)) Fail("the number ", Quoted(Peek().text), " is not supported");
      Take();
      return Constant(negative ? -number : number);
    }
    if (Peek().kind == TokenKind::kString) {
      std::string text;
      while (Peek().kind == TokenKind::kString) text += Take().text;
      return Constant(std::move(text));
    }
    if (Accept("(")) {
      NodePtr inner = ParseExpression();
      Expect(")");
      return inner;
    }
    if (Accept("[")) {
      NodePtr list = Make(NodeKind::kList, "");
      ParseItems("]", [&] { Append(*list, ParseExpression()); });
      return list;
    }
    if (Accept("{")) {  // known templates use it for tools only
      ParseItems("}", [&] {
        ParseExpression();
        Expect(":");
        ParseExpression();
      });
      return Make(NodeKind::kUnsupported, "a map");
    }
    std::string name = TakeName();
    if (name == "true" || name == "True") return Constant(true);
    if (name == "false" || name == "False") return Constant(false);
    if (name == "none" || name == "None") return Constant(None{});
    return Make(NodeKind::kName, std::move(name));
  }

  NodePtr ParseSubscript(NodePtr object) {
    NodePtr node = Make(NodeKind::kItem, "", std::move(object));
    for (bool more = true; more;) {
      const bool absent = Is(":") || Is("]");
      Append(*node, absent ? Constant(None{}) : ParseExpression());
      more = Accept(":");
      if (more) node->kind = NodeKind::kSlice;
    }
    Expect("]");
    if (node->children.size() > 4) Fail("a slice of more than three parts");
    return node;
  }

  void ParseArguments(Node& call) {
    ParseItems(")", [&] {
      if (Peek().kind == TokenKind::kWord && tokens_[at_ + 1].text == "=") {
        call.names.push_back(TakeName());
        Take();
      } else if (!call.names.empty()) {
        Fail("an argument without a name behind one with a name");
      }
      Append(call, ParseExpression());
    });
  }

  // Calls `parse_one` for each item up to `end`; items are separated by commas.
  template <typename ParseOne>
  void ParseItems(std::string_view end, ParseOne parse_one) {
    while (error_.ok() && !Accept(end)) {
      parse_one();
      if (!Is(end)) Expect(",");
    }
  }

  const std::vector<Token> tokens_;  // the last one is a kEnd
  size_t at_ = 0;
  int depth_ = 0;
  absl::Status error_;
};

}  // namespace

absl::StatusOr<NodePtr> Parse(std::string_view text) {
  const absl::Status too_long = absl::InvalidArgumentError("the template is too long");
  if (text.size() > kMaxBytes) return too_long;
  LH_ASSIGN_OR_RETURN(std::vector<Token> tokens, Tokenize(text));
  if (tokens.size() > kMaxTokens) return too_long;
  return Parser(std::move(tokens)).Run();
}

}  // namespace longhaul::jinja
