#include "engine/jinja/expression_parser.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cachestore/base/status_macros.h"

namespace reprise::engine::jinja {
namespace {

using Parsed = absl::StatusOr<ExpressionPtr>;

struct OperatorName {
  const char* text;
  Binary::Operator op;
};
constexpr OperatorName kComparisons[] = {
    {"==", Binary::Operator::kEqual},          {"!=", Binary::Operator::kNotEqual},
    {"<=", Binary::Operator::kLessOrEqual},    {"<", Binary::Operator::kLess},
    {">=", Binary::Operator::kGreaterOrEqual}, {">", Binary::Operator::kGreater}};
constexpr OperatorName kSums[] = {{"+", Binary::Operator::kAdd},
                                  {"-", Binary::Operator::kSubtract}};
constexpr OperatorName kJoins[] = {{"~", Binary::Operator::kJoin}};
constexpr OperatorName kProducts[] = {{"*", Binary::Operator::kMultiply},
                                      {"//", Binary::Operator::kFloorDivide},
                                      {"%", Binary::Operator::kModulo}};

int DepthOf(const ExpressionPtr& expression) {
  return expression == nullptr ? 0 : expression->depth;
}

int DepthOf(const Arguments& arguments) {
  int depth = 0;
  for (const ExpressionPtr& argument : arguments.positional) {
    depth = std::max(depth, DepthOf(argument));
  }
  for (const auto& [name, argument] : arguments.named) depth = std::max(depth, DepthOf(argument));
  return depth;
}

class Parser {
 public:
  explicit Parser(TokenStream* tokens) : tokens_(*tokens) {}

  // a if b else c
  Parsed Whole() {
    ASSIGN_OR_RETURN(ExpressionPtr value, Or());
    while (tokens_.TakeName("if")) {
      ASSIGN_OR_RETURN(ExpressionPtr test, Or());
      ExpressionPtr otherwise;
      if (tokens_.TakeName("else")) {
        ASSIGN_OR_RETURN(otherwise, Nested(&Parser::Whole));
      }
      const int depth = std::max({DepthOf(value), DepthOf(test), DepthOf(otherwise)});
      ASSIGN_OR_RETURN(
          value, Make(Conditional{std::move(test), std::move(value), std::move(otherwise)}, depth));
    }
    return value;
  }

  Parsed Or() {
    ASSIGN_OR_RETURN(ExpressionPtr left, And());
    while (tokens_.TakeName("or")) {
      ASSIGN_OR_RETURN(ExpressionPtr right, And());
      ASSIGN_OR_RETURN(left, MakeBinary(Binary::Operator::kOr, std::move(left), std::move(right)));
    }
    return left;
  }

  // Elements with commas between them, read by `element`, are a list.
  Parsed MaybeList(Parsed (Parser::*element)()) {
    ASSIGN_OR_RETURN(ExpressionPtr first, (this->*element)());
    if (!tokens_.Peek().IsOperator(",")) return first;
    int depth = DepthOf(first);
    ListLiteral list;
    list.elements.push_back(std::move(first));
    while (tokens_.TakeOperator(",")) {
      if (EndsList()) break;
      ASSIGN_OR_RETURN(ExpressionPtr next, (this->*element)());
      depth = std::max(depth, DepthOf(next));
      list.elements.push_back(std::move(next));
    }
    return Make(std::move(list), depth);
  }

 private:
  template <typename Node>
  Parsed Make(Node node, int depth) {
    if (depth >= kMostDepth) {
      return tokens_.Error(absl::StrCat("more than ", kMostDepth, " expressions in each other"));
    }
    auto expression = std::make_unique<Expression>();
    expression->line = tokens_.Peek().line;
    expression->depth = depth + 1;
    expression->node = std::move(node);
    return ExpressionPtr(std::move(expression));
  }

  Parsed MakeBinary(Binary::Operator op, ExpressionPtr left, ExpressionPtr right) {
    const int depth = std::max(DepthOf(left), DepthOf(right));
    return Make(Binary{op, std::move(left), std::move(right)}, depth);
  }

  // Parses what recursion reaches, so deep as it is allowed.
  Parsed Nested(Parsed (Parser::*parse)()) {
    if (nesting_ >= kMostDepth) {
      return tokens_.Error(absl::StrCat("more than ", kMostDepth, " expressions in each other"));
    }
    ++nesting_;
    Parsed parsed = (this->*parse)();
    --nesting_;
    return parsed;
  }

  bool EndsList() const {
    const Token& next = tokens_.Peek();
    return next.IsOperator(")") || next.IsOperator("]") || next.type == TokenType::kTagEnd ||
           next.type == TokenType::kOutputEnd;
  }

  Parsed And() {
    ASSIGN_OR_RETURN(ExpressionPtr left, Not());
    while (tokens_.TakeName("and")) {
      ASSIGN_OR_RETURN(ExpressionPtr right, Not());
      ASSIGN_OR_RETURN(left, MakeBinary(Binary::Operator::kAnd, std::move(left), std::move(right)));
    }
    return left;
  }

  Parsed Not() {
    if (!tokens_.TakeName("not")) return Comparison();
    ASSIGN_OR_RETURN(ExpressionPtr operand, Nested(&Parser::Not));
    const int depth = DepthOf(operand);
    return Make(Unary{Unary::Operator::kNot, std::move(operand)}, depth);
  }

  Parsed Comparison() {
    ASSIGN_OR_RETURN(ExpressionPtr left, Sum());
    Binary::Operator op;
    if (!TakeComparison(&op)) return left;
    ASSIGN_OR_RETURN(ExpressionPtr right, Sum());
    Binary::Operator second;
    if (TakeComparison(&second)) return tokens_.Error("a < b < c is not supported");
    return MakeBinary(op, std::move(left), std::move(right));
  }

  bool TakeComparison(Binary::Operator* op) {
    if (tokens_.TakeName("in")) {
      *op = Binary::Operator::kIn;
      return true;
    }
    if (tokens_.Peek().IsName("not") && tokens_.PeekSecond().IsName("in")) {
      tokens_.Next();
      tokens_.Next();
      *op = Binary::Operator::kNotIn;
      return true;
    }
    return TakeOneOf(kComparisons, op);
  }

  template <size_t kCount>
  bool TakeOneOf(const OperatorName (&operators)[kCount], Binary::Operator* op) {
    for (const OperatorName& known : operators) {
      if (!tokens_.TakeOperator(known.text)) continue;
      *op = known.op;
      return true;
    }
    return false;
  }

  template <size_t kCount>
  Parsed LeftToRight(const OperatorName (&operators)[kCount], Parsed (Parser::*operand)()) {
    ASSIGN_OR_RETURN(ExpressionPtr left, (this->*operand)());
    Binary::Operator op;
    while (TakeOneOf(operators, &op)) {
      ASSIGN_OR_RETURN(ExpressionPtr right, (this->*operand)());
      ASSIGN_OR_RETURN(left, MakeBinary(op, std::move(left), std::move(right)));
    }
    return left;
  }

  Parsed Sum() { return LeftToRight(kSums, &Parser::Join); }
  Parsed Join() { return LeftToRight(kJoins, &Parser::Product); }
  Parsed Product() { return LeftToRight(kProducts, &Parser::Filtered); }

  // Filters and tests bind looser than a sign.
  Parsed Filtered() {
    ASSIGN_OR_RETURN(ExpressionPtr value, Signed());
    while (true) {
      if (tokens_.TakeOperator("|")) {
        ASSIGN_OR_RETURN(value, FilterOf(std::move(value)));
      } else if (tokens_.TakeName("is")) {
        ASSIGN_OR_RETURN(value, TestOf(std::move(value)));
      } else {
        return value;
      }
    }
  }

  Parsed Signed() {
    for (const auto& [text, op] : {std::make_pair("-", Unary::Operator::kMinus),
                                   std::make_pair("+", Unary::Operator::kPlus)}) {
      if (!tokens_.TakeOperator(text)) continue;
      ASSIGN_OR_RETURN(ExpressionPtr operand, Nested(&Parser::Signed));
      const int depth = DepthOf(operand);
      return Make(Unary{op, std::move(operand)}, depth);
    }
    ASSIGN_OR_RETURN(ExpressionPtr primary, Primary());
    return Postfix(std::move(primary));
  }

  Parsed FilterOf(ExpressionPtr input) {
    Filter filter;
    ASSIGN_OR_RETURN(filter.name, tokens_.ExpectName("the name of a filter"));
    if (tokens_.TakeOperator("(")) {
      ASSIGN_OR_RETURN(filter.arguments, CallArguments());
    }
    const int depth = std::max(DepthOf(input), DepthOf(filter.arguments));
    filter.input = std::move(input);
    return Make(std::move(filter), depth);
  }

  Parsed TestOf(ExpressionPtr input) {
    const bool is_negated = tokens_.TakeName("not");
    Test test;
    ASSIGN_OR_RETURN(test.name, tokens_.ExpectName("the name of a test"));
    if (tokens_.TakeOperator("(")) {
      ASSIGN_OR_RETURN(test.arguments, CallArguments());
    } else if (BeginsBareArgument()) {
      ASSIGN_OR_RETURN(ExpressionPtr primary, Primary());
      ASSIGN_OR_RETURN(ExpressionPtr argument, Postfix(std::move(primary)));
      test.arguments.positional.push_back(std::move(argument));
    }
    const int depth = std::max(DepthOf(input), DepthOf(test.arguments));
    test.input = std::move(input);
    ASSIGN_OR_RETURN(ExpressionPtr tested, Make(std::move(test), depth));
    if (!is_negated) return tested;
    return Make(Unary{Unary::Operator::kNot, std::move(tested)}, depth + 1);
  }

  // x is divisibleby 3
  bool BeginsBareArgument() const {
    const Token& next = tokens_.Peek();
    if (next.type == TokenType::kName) {
      for (const char* word : {"else", "or", "and", "is", "if", "in", "not"}) {
        if (next.text == word) return false;
      }
      return true;
    }
    return next.type == TokenType::kString || next.type == TokenType::kInteger ||
           next.IsOperator("[") || next.IsOperator("{");
  }

  Parsed Postfix(ExpressionPtr value) {
    while (true) {
      const int depth = DepthOf(value);
      if (tokens_.TakeOperator(".")) {
        ASSIGN_OR_RETURN(std::string name, tokens_.ExpectName("the name of an attribute"));
        ASSIGN_OR_RETURN(value, Make(Attribute{std::move(value), std::move(name)}, depth));
      } else if (tokens_.TakeOperator("[")) {
        ASSIGN_OR_RETURN(value, SubscriptOf(std::move(value)));
      } else if (tokens_.TakeOperator("(")) {
        ASSIGN_OR_RETURN(Arguments arguments, CallArguments());
        const int all = std::max(depth, DepthOf(arguments));
        ASSIGN_OR_RETURN(value, Make(Call{std::move(value), std::move(arguments)}, all));
      } else {
        return value;
      }
    }
  }

  Parsed SubscriptOf(ExpressionPtr object) {
    ExpressionPtr parts[3];  // start, stop, step
    int num_colons = 0;
    while (!tokens_.TakeOperator("]")) {
      if (tokens_.TakeOperator(":")) {
        if (++num_colons > 2) return tokens_.Error("more than two ':' in []");
      } else if (parts[num_colons] != nullptr) {
        return tokens_.ExpectOperator("]");
      } else {
        ASSIGN_OR_RETURN(parts[num_colons], Nested(&Parser::Whole));
      }
    }
    const int depth =
        std::max({DepthOf(object), DepthOf(parts[0]), DepthOf(parts[1]), DepthOf(parts[2])});
    if (num_colons > 0) {
      return Make(
          Slice{std::move(object), std::move(parts[0]), std::move(parts[1]), std::move(parts[2])},
          depth);
    }
    if (parts[0] == nullptr) return tokens_.Error("nothing in []");
    return Make(Subscript{std::move(object), std::move(parts[0])}, depth);
  }

  // Behind "(".
  absl::StatusOr<Arguments> CallArguments() {
    Arguments arguments;
    while (!tokens_.TakeOperator(")")) {
      if (tokens_.Peek().IsOperator("*") || tokens_.Peek().IsOperator("**")) {
        return tokens_.Error("arguments by * or ** are not supported");
      }
      std::string name;
      if (tokens_.Peek().type == TokenType::kName && tokens_.PeekSecond().IsOperator("=")) {
        name = tokens_.Next().text;
        tokens_.Next();
      }
      ASSIGN_OR_RETURN(ExpressionPtr value, Nested(&Parser::Whole));
      if (!name.empty()) {
        arguments.named.emplace_back(std::move(name), std::move(value));
      } else if (arguments.named.empty()) {
        arguments.positional.push_back(std::move(value));
      } else {
        return tokens_.Error("an argument without a name behind one with a name");
      }
      if (!tokens_.Peek().IsOperator(")")) RETURN_IF_ERROR(tokens_.ExpectOperator(","));
    }
    return arguments;
  }

  Parsed Primary() {
    const Token& token = tokens_.Peek();
    if (token.type == TokenType::kInteger) return Make(Literal{Value(tokens_.Next().number)}, 0);
    if (token.type == TokenType::kString) {
      std::string text;
      while (tokens_.Peek().type == TokenType::kString) text += tokens_.Next().text;
      return Make(Literal{Value::Own(text)}, 0);
    }
    if (token.type == TokenType::kName) return NameOrConstant(tokens_.Next().text);
    if (tokens_.TakeOperator("(")) return Parenthesized();
    if (tokens_.TakeOperator("[")) return ListOf();
    if (tokens_.TakeOperator("{")) return MapOf();
    return tokens_.Error(absl::StrCat("expected an expression, found '", token.text, "'"));
  }

  Parsed NameOrConstant(std::string name) {
    if (name == "true" || name == "True") return Make(Literal{Value(true)}, 0);
    if (name == "false" || name == "False") return Make(Literal{Value(false)}, 0);
    if (name == "none" || name == "None") return Make(Literal{Value()}, 0);
    return Make(Name{std::move(name)}, 0);
  }

  Parsed NestedWholeList() { return MaybeList(&Parser::Whole); }

  Parsed Parenthesized() {
    if (tokens_.TakeOperator(")")) return Make(ListLiteral{}, 0);
    ASSIGN_OR_RETURN(ExpressionPtr inside, Nested(&Parser::NestedWholeList));
    RETURN_IF_ERROR(tokens_.ExpectOperator(")"));
    return inside;
  }

  Parsed ListOf() {
    ListLiteral list;
    int depth = 0;
    while (!tokens_.TakeOperator("]")) {
      ASSIGN_OR_RETURN(ExpressionPtr element, Nested(&Parser::Whole));
      depth = std::max(depth, DepthOf(element));
      list.elements.push_back(std::move(element));
      if (!tokens_.Peek().IsOperator("]")) RETURN_IF_ERROR(tokens_.ExpectOperator(","));
    }
    return Make(std::move(list), depth);
  }

  Parsed MapOf() {
    MapLiteral map;
    int depth = 0;
    while (!tokens_.TakeOperator("}")) {
      ASSIGN_OR_RETURN(ExpressionPtr key, Nested(&Parser::Whole));
      RETURN_IF_ERROR(tokens_.ExpectOperator(":"));
      ASSIGN_OR_RETURN(ExpressionPtr value, Nested(&Parser::Whole));
      depth = std::max({depth, DepthOf(key), DepthOf(value)});
      map.members.emplace_back(std::move(key), std::move(value));
      if (!tokens_.Peek().IsOperator("}")) RETURN_IF_ERROR(tokens_.ExpectOperator(","));
    }
    return Make(std::move(map), depth);
  }

  TokenStream& tokens_;
  int nesting_ = 0;
};

}  // namespace

absl::StatusOr<ExpressionPtr> ParseExpression(TokenStream* tokens) {
  return Parser(tokens).Whole();
}

absl::StatusOr<ExpressionPtr> ParseLoopElements(TokenStream* tokens) {
  return Parser(tokens).MaybeList(&Parser::Or);
}

absl::StatusOr<ExpressionPtr> ParseExpressionOrList(TokenStream* tokens) {
  return Parser(tokens).MaybeList(&Parser::Whole);
}

}  // namespace reprise::engine::jinja
