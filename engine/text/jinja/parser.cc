#include "engine/text/jinja/parser.h"

#include <algorithm>
#include <initializer_list>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "engine/base/quoted.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/text/jinja/lexer.h"

namespace longhaul::jinja {
namespace {

constexpr int kMaxDepth = 200;
constexpr size_t kMaxBytes = 256 << 10, kMaxTokens = 20'000;

// By recursive descent. The first error is kept; from then on every token is a kEnd, so that all loops end.
class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  absl::StatusOr<NodePtr> Run() {
    NodePtr block = ParseBlock({});
    if (error_.ok() && Peek().kind != TokenKind::kEnd) Fail("'end' of nothing");
    if (!error_.ok()) return error_;
    return block;
  }

 private:
  const Token& Peek() const { return error_.ok() ? tokens_[at_] : tokens_.back(); }
  bool Is(TokenKind kind, std::string_view text) const { return Peek().kind == kind && Peek().text == text; }
  bool IsSymbol(std::string_view text) const { return Is(TokenKind::kSymbol, text); }
  bool IsName(std::string_view text) const { return Is(TokenKind::kName, text); }
  Token Take() {
    const Token& token = Peek();
    if (token.kind != TokenKind::kEnd) ++at_;
    return token;
  }
  bool Accept(TokenKind kind, std::string_view text) {
    const bool is = Is(kind, text);
    if (is) ++at_;
    return is;
  }
  bool AcceptSymbol(std::string_view text) { return Accept(TokenKind::kSymbol, text); }
  bool AcceptName(std::string_view text) { return Accept(TokenKind::kName, text); }
  void Expect(TokenKind kind, std::string_view text) {
    if (!Accept(kind, text)) Fail("unexpected ", Quoted(Peek().text));
  }
  std::string TakeName() {
    if (Peek().kind == TokenKind::kName) return Take().text;
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

  // Counts how deep the parser itself is.
  class Deeper {
   public:
    explicit Deeper(Parser& parser) : parser_(parser) {
      if (++parser_.depth_ > kMaxDepth) parser_.Fail("nested too deep");
    }
    ~Deeper() { --parser_.depth_; }

   private:
    Parser& parser_;
  };

  // --- Statements ---

  // Up to a block tag that begins with one of `ends`, whose name is still to be read.
  NodePtr ParseBlock(std::initializer_list<std::string_view> ends) {
    const Deeper deeper(*this);
    NodePtr block = Make(NodeKind::kBlock, "");
    while (Peek().kind != TokenKind::kEnd) {
      Token token = Take();
      if (token.kind == TokenKind::kText) {
        Append(*block, Make(NodeKind::kText, std::move(token.text)));
      } else if (token.kind == TokenKind::kOutputBegin) {
        Append(*block, Make(NodeKind::kOutput, "", ParseExpression()));
        Expect(TokenKind::kOutputEnd, "");
      } else {
        if (std::any_of(ends.begin(), ends.end(), [&](std::string_view end) { return IsName(end); })) return block;
        Append(*block, ParseStatement());
      }
    }
    if (ends.size() > 0) Fail("'", ToAbsl(*(ends.end() - 1)), "' is missing");
    return block;
  }

  void EndTag(std::string_view name) {
    Expect(TokenKind::kName, name);
    Expect(TokenKind::kBlockEnd, "");
  }

  NodePtr ParseStatement() {
    const std::string name = TakeName();
    if (name == "if") return ParseIf();
    if (name == "for") return ParseFor();
    if (name == "set") return ParseSet();
    if (name == "generation") {  // marks what a model is trained on
      Expect(TokenKind::kBlockEnd, "");
      NodePtr body = ParseBlock({"endgeneration"});
      EndTag("endgeneration");
      return body;
    }
    if (name == "macro") {  // for tools alone in the templates that are known
      while (Peek().kind != TokenKind::kBlockEnd && Peek().kind != TokenKind::kEnd) Take();
      Expect(TokenKind::kBlockEnd, "");
      ParseBlock({"endmacro"});
      EndTag("endmacro");
      return Make(NodeKind::kBlock, "");
    }
    if (name == "break" || name == "continue") {
      Expect(TokenKind::kBlockEnd, "");
      return Make(NodeKind::kUnsupported, name);
    }
    Fail("the statement ", Quoted(name), " is not supported");
    return Make(NodeKind::kBlock, "");
  }

  NodePtr ParseIf() {
    NodePtr node = Make(NodeKind::kIf, "", ParseExpression());
    for (bool more = true; more;) {
      Expect(TokenKind::kBlockEnd, "");
      Append(*node, ParseBlock({"elif", "else", "endif"}));
      if (AcceptName("else")) {
        Expect(TokenKind::kBlockEnd, "");
        Append(*node, ParseBlock({"endif"}));
        more = false;
      } else {
        more = AcceptName("elif");
        if (more) Append(*node, ParseExpression());
      }
    }
    EndTag("endif");
    return node;
  }

  NodePtr ParseFor() {
    std::string variable = TakeName();
    if (IsSymbol(",")) {  // the members of a tool's map
      while (AcceptSymbol(",")) TakeName();
      variable.clear();
    }
    Expect(TokenKind::kName, "in");
    NodePtr list = ParseOr();
    NodePtr condition = AcceptName("if") ? ParseExpression() : nullptr;
    Expect(TokenKind::kBlockEnd, "");
    NodePtr node = Make(NodeKind::kFor, std::move(variable), std::move(list), ParseBlock({"else", "endfor"}));
    if (condition != nullptr) Append(*node, std::move(condition));
    if (IsName("else")) Fail("'else' of a loop is not supported");
    EndTag("endfor");
    return node;
  }

  NodePtr ParseSet() {
    std::string name = TakeName();
    if (AcceptSymbol(".")) {
      std::string member = TakeName();
      Expect(TokenKind::kSymbol, "=");
      NodePtr space = Make(NodeKind::kName, std::move(name));
      NodePtr node = Make(NodeKind::kSetMember, std::move(member), std::move(space), ParseExpression());
      Expect(TokenKind::kBlockEnd, "");
      return node;
    }
    if (Peek().kind == TokenKind::kBlockEnd) {
      Take();
      ParseBlock({"endset"});
      EndTag("endset");
      return Make(NodeKind::kUnsupported, "a block that is set");
    }
    Expect(TokenKind::kSymbol, "=");
    NodePtr node = Make(NodeKind::kSet, std::move(name), ParseExpression());
    Expect(TokenKind::kBlockEnd, "");
    return node;
  }

  // --- Expressions, the loosest binding first ---

  NodePtr ParseExpression() {
    const Deeper deeper(*this);
    NodePtr value = ParseOr();
    while (AcceptName("if")) {
      NodePtr condition = ParseOr();
      NodePtr other = AcceptName("else") ? ParseExpression() : Constant(Value());
      value = Make(NodeKind::kConditional, "", std::move(condition), std::move(value), std::move(other));
    }
    return value;
  }

  NodePtr ParseOr() {
    NodePtr left = ParseAnd();
    while (AcceptName("or")) left = Make(NodeKind::kBinary, "or", std::move(left), ParseAnd());
    return left;
  }

  NodePtr ParseAnd() {
    NodePtr left = ParseNot();
    while (AcceptName("and")) left = Make(NodeKind::kBinary, "and", std::move(left), ParseNot());
    return left;
  }

  NodePtr ParseNot() {
    const Deeper deeper(*this);
    if (AcceptName("not")) return Make(NodeKind::kNot, "", ParseNot());
    return ParseComparison();
  }

  NodePtr ParseComparison() {
    NodePtr left = ParseSum();
    for (int n = 0;; ++n) {
      std::string op;
      bool negated = false;
      for (const std::string_view symbol : {"==", "!=", "<=", ">=", "<", ">"}) {
        if (op.empty() && AcceptSymbol(symbol)) op = symbol;
      }
      if (op.empty() && IsName("not") && tokens_[at_ + 1].text == "in") {
        Take();
        negated = true;
      }
      if (op.empty() && AcceptName("in")) op = "in";
      if (op.empty()) return left;
      if (n > 0) Fail("a chain of comparisons is not supported");
      left = Make(NodeKind::kBinary, std::move(op), std::move(left), ParseSum());
      if (negated) left = Make(NodeKind::kNot, "", std::move(left));
    }
  }

  // Left to right over `operators`.
  template <typename Next>
  NodePtr ParseChain(std::initializer_list<std::string_view> operators, Next next) {
    NodePtr left = next();
    for (bool more = true; more && error_.ok();) {
      more = false;
      for (const std::string_view op : operators) {
        if (more || !AcceptSymbol(op)) continue;
        left = Make(NodeKind::kBinary, std::string(op), std::move(left), next());
        more = true;
      }
    }
    return left;
  }
  NodePtr ParseSum() {
    return ParseChain({"+", "-"}, [this] { return ParseJoin(); });
  }
  NodePtr ParseJoin() {
    return ParseChain({"~"}, [this] { return ParseProduct(); });
  }
  NodePtr ParseProduct() {
    return ParseChain({"*", "//", "/", "%"}, [this] { return ParseUnary(); });
  }

  NodePtr ParseUnary() {
    const Deeper deeper(*this);
    if (AcceptSymbol("-")) return Make(NodeKind::kNegative, "", ParseUnary());
    NodePtr value = ParsePostfix(ParsePrimary());
    for (;;) {
      if (AcceptSymbol("|")) {
        value = Make(NodeKind::kFilter, TakeName(), std::move(value));
        if (AcceptSymbol("(")) ParseArguments(*value);
      } else if (AcceptName("is")) {
        const bool negated = AcceptName("not");
        value = Make(NodeKind::kTest, TakeName(), std::move(value));
        if (AcceptSymbol("(")) {
          ParseArguments(*value);
        } else if (Peek().kind == TokenKind::kString || Peek().kind == TokenKind::kNumber) {
          Append(*value, ParsePrimary());
        }
        if (negated) value = Make(NodeKind::kNot, "", std::move(value));
      } else {
        return value;
      }
    }
  }

  NodePtr ParsePrimary() {
    if (Peek().kind == TokenKind::kName) {
      std::string name = Take().text;
      if (name == "true" || name == "True") return Constant(Value(true));
      if (name == "false" || name == "False") return Constant(Value(false));
      if (name == "none" || name == "None") return Constant(Value(None{}));
      return Make(NodeKind::kName, std::move(name));
    }
    if (Peek().kind == TokenKind::kNumber) {
      int64_t number = 0;
      if (!absl::SimpleAtoi(Peek().text, &number)) Fail("the number ", Quoted(Peek().text), " is not supported");
      Take();
      return Constant(Value(number));
    }
    if (Peek().kind == TokenKind::kString) {
      std::string text;
      while (Peek().kind == TokenKind::kString) text += Take().text;
      return Constant(Value(std::move(text)));
    }
    if (AcceptSymbol("(")) {
      NodePtr inner = ParseExpression();
      Expect(TokenKind::kSymbol, ")");
      return inner;
    }
    if (AcceptSymbol("[")) {
      NodePtr list = Make(NodeKind::kList, "");
      while (error_.ok() && !AcceptSymbol("]")) {
        Append(*list, ParseExpression());
        if (!IsSymbol("]")) Expect(TokenKind::kSymbol, ",");
      }
      return list;
    }
    if (AcceptSymbol("{")) {  // for tools alone in the templates that are known
      while (error_.ok() && !AcceptSymbol("}")) {
        ParseExpression();
        Expect(TokenKind::kSymbol, ":");
        ParseExpression();
        if (!IsSymbol("}")) Expect(TokenKind::kSymbol, ",");
      }
      return Make(NodeKind::kUnsupported, "a map");
    }
    Fail("unexpected ", Quoted(Peek().text));
    return Constant(Value());
  }

  NodePtr ParsePostfix(NodePtr value) {
    for (;;) {
      if (AcceptSymbol(".")) {
        value = Make(NodeKind::kMember, TakeName(), std::move(value));
      } else if (AcceptSymbol("(")) {
        value = Make(NodeKind::kCall, "", std::move(value));
        ParseArguments(*value);
      } else if (AcceptSymbol("[")) {
        value = ParseSubscript(std::move(value));
      } else {
        return value;
      }
    }
  }

  NodePtr ParseSubscript(NodePtr object) {
    std::vector<NodePtr> parts;
    bool slice = false;
    for (;;) {
      const bool absent = IsSymbol(":") || IsSymbol("]");
      parts.push_back(absent ? Constant(Value(None{})) : ParseExpression());
      if (!AcceptSymbol(":")) break;
      slice = true;
    }
    Expect(TokenKind::kSymbol, "]");
    if (parts.size() > 3) Fail("a slice of more than three parts");
    NodePtr node = Make(slice ? NodeKind::kSlice : NodeKind::kItem, "", std::move(object));
    for (NodePtr& part : parts) Append(*node, std::move(part));
    while (slice && node->children.size() < 4) Append(*node, Constant(Value(None{})));
    return node;
  }

  void ParseArguments(Node& call) {
    while (error_.ok() && !AcceptSymbol(")")) {
      const bool named = Peek().kind == TokenKind::kName && tokens_[at_ + 1].text == "=" &&
                         tokens_[at_ + 1].kind == TokenKind::kSymbol;
      if (named) {
        call.names.push_back(TakeName());
        Take();
      } else if (!call.names.empty()) {
        Fail("an argument without a name behind one with a name");
      }
      Append(call, ParseExpression());
      if (!IsSymbol(")")) Expect(TokenKind::kSymbol, ",");
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
