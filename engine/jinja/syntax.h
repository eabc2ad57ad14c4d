// The syntax tree of a template: expressions, which give values, and statements, which write text.
// Plain data, immutable once parsed. At most kMostDepth nodes stand inside of each other.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "engine/jinja/value.h"

namespace reprise::engine::jinja {

inline constexpr int kMostDepth = 100;

struct Expression;
using ExpressionPtr = std::unique_ptr<const Expression>;  // null where something is left out

struct Arguments {
  std::vector<ExpressionPtr> positional;
  std::vector<std::pair<std::string, ExpressionPtr>> named;
};

struct Literal {
  Value value;
};
struct Name {
  std::string name;
};
struct ListLiteral {
  std::vector<ExpressionPtr> elements;
};
struct MapLiteral {
  std::vector<std::pair<ExpressionPtr, ExpressionPtr>> members;
};
// object.name
struct Attribute {
  ExpressionPtr object;
  std::string name;
};
// object[index]
struct Subscript {
  ExpressionPtr object;
  ExpressionPtr index;
};
// object[start:stop:step]
struct Slice {
  ExpressionPtr object;
  ExpressionPtr start;
  ExpressionPtr stop;
  ExpressionPtr step;
};
// callee(arguments)
struct Call {
  ExpressionPtr callee;
  Arguments arguments;
};
// input | name(arguments)
struct Filter {
  ExpressionPtr input;
  std::string name;
  Arguments arguments;
};
// input is name(arguments)
struct Test {
  ExpressionPtr input;
  std::string name;
  Arguments arguments;
};
struct Unary {
  enum class Operator { kNot, kMinus, kPlus };
  Operator op;
  ExpressionPtr operand;
};
struct Binary {
  enum class Operator {
    kOr,
    kAnd,
    kEqual,
    kNotEqual,
    kLess,
    kLessOrEqual,
    kGreater,
    kGreaterOrEqual,
    kIn,
    kNotIn,
    kAdd,
    kSubtract,
    kJoin,  // ~
    kMultiply,
    kFloorDivide,
    kModulo,
  };
  Operator op;
  ExpressionPtr left;
  ExpressionPtr right;
};
// then if test else otherwise
struct Conditional {
  ExpressionPtr test;
  ExpressionPtr then;
  ExpressionPtr otherwise;
};

struct Expression {
  int line = 0;
  int depth = 0;  // nodes below it, at most kMostDepth
  std::variant<Literal, Name, ListLiteral, MapLiteral, Attribute, Subscript, Slice, Call, Filter,
               Test, Unary, Binary, Conditional>
      node;
};

struct Statement;
using Block = std::vector<Statement>;

struct Text {
  std::string text;
};
struct Output {
  ExpressionPtr value;
};
struct If {
  struct Branch {
    ExpressionPtr test;
    Block body;
  };
  std::vector<Branch> branches;
  Block otherwise;
};
struct For {
  std::vector<std::string> targets;
  ExpressionPtr elements;
  ExpressionPtr condition;
  Block body;
  Block otherwise;
};
struct SetNames {
  std::vector<std::string> targets;
  ExpressionPtr value;
};
struct SetAttribute {
  std::string object;
  std::string attribute;
  ExpressionPtr value;
};
struct SetBlock {
  std::string target;
  Block body;
};
enum class LoopControl { kBreak, kContinue };

struct MacroDefinition {
  struct Parameter {
    std::string name;
    ExpressionPtr fallback;
  };
  std::string name;
  std::vector<Parameter> parameters;
  Block body;
};
// On the heap, so that values that point to it stay good while the statement is moved.
struct Macro {
  std::unique_ptr<const MacroDefinition> definition;
};

struct Statement {
  int line = 0;
  std::variant<Text, Output, If, For, SetNames, SetAttribute, SetBlock, LoopControl, Macro> node;
};

}  // namespace reprise::engine::jinja
