// Interpreter: runs the statements of one rendering. Holds its variables and what is written so
// far. Used once; thread-compatible.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "engine/jinja/arguments.h"
#include "engine/jinja/budget.h"
#include "engine/jinja/syntax.h"
#include "engine/jinja/value.h"

namespace reprise::engine::jinja {

class Interpreter {
 public:
  // `budget` must outlive the interpreter.
  Interpreter(Map variables, Budget* budget);

  // What the statements write. Errors as Template::Render.
  absl::StatusOr<MarkedText> Run(const Block& block);

 private:
  // How a block ended.
  enum class Flow { kOn, kBreak, kContinue };

  // Statements, in interpreter_statements.cc.
  absl::StatusOr<Flow> RunBlock(const Block& block);
  absl::StatusOr<Flow> RunNode(const Text& text);
  absl::StatusOr<Flow> RunNode(const Output& output);
  absl::StatusOr<Flow> RunNode(const If& statement);
  absl::StatusOr<Flow> RunNode(const For& statement);
  absl::StatusOr<Flow> RunNode(const SetNames& statement);
  absl::StatusOr<Flow> RunNode(const SetAttribute& statement);
  absl::StatusOr<Flow> RunNode(const SetBlock& statement);
  absl::StatusOr<Flow> RunNode(const LoopControl& control);
  absl::StatusOr<Flow> RunNode(const Macro& macro);
  absl::StatusOr<List> LoopElements(const For& statement);
  absl::Status Assign(const std::vector<std::string>& targets, const Value& value);
  absl::Status Write(const MarkedText& text);
  // What `block` writes, apart from the rest.
  absl::StatusOr<MarkedText> Capture(const Block& block);
  // Sets the macro's parameters in the innermost scope.
  absl::Status BindParameters(const MacroDefinition& macro, const CallArguments& arguments);
  absl::StatusOr<Value> CallMacro(const MacroDefinition& macro, const CallArguments& arguments);

  // Expressions, in interpreter_expressions.cc.
  absl::StatusOr<Value> Evaluate(const Expression& expression);
  // None for what is left out.
  absl::StatusOr<Value> EvaluateOptional(const ExpressionPtr& expression);
  absl::StatusOr<CallArguments> EvaluateAll(const Arguments& arguments);
  absl::StatusOr<Value> ValueOf(const Literal& literal);
  absl::StatusOr<Value> ValueOf(const Name& name);
  absl::StatusOr<Value> ValueOf(const ListLiteral& list);
  absl::StatusOr<Value> ValueOf(const MapLiteral& map);
  absl::StatusOr<Value> ValueOf(const Attribute& attribute);
  absl::StatusOr<Value> ValueOf(const Subscript& subscript);
  absl::StatusOr<Value> ValueOf(const Slice& slice);
  absl::StatusOr<Value> ValueOf(const Call& call);
  absl::StatusOr<Value> ValueOf(const Filter& filter);
  absl::StatusOr<Value> ValueOf(const Test& test);
  absl::StatusOr<Value> ValueOf(const Unary& unary);
  absl::StatusOr<Value> ValueOf(const Binary& binary);
  absl::StatusOr<Value> ValueOf(const Conditional& conditional);
  absl::StatusOr<Value> CallFunction(Function function, const CallArguments& arguments);
  Value Lookup(absl::string_view name) const;

  Budget& budget_;
  std::vector<std::unique_ptr<Map>> namespaces_;
  // The last scope is the innermost one. Macros see the first one and their own.
  std::vector<Map> scopes_;
  MarkedText written_;
  int calls_ = 0;  // macros in each other
};

}  // namespace reprise::engine::jinja
