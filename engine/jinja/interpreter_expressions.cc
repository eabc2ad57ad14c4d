// Interpreter's expressions.
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "cachestore/base/status_macros.h"
#include "engine/jinja/filters.h"
#include "engine/jinja/interpreter.h"
#include "engine/jinja/methods.h"
#include "engine/jinja/operators.h"
#include "engine/jinja/value_tests.h"

namespace reprise::engine::jinja {
namespace {

// Names the line of a failure, once, at the innermost expression.
absl::Status AtLine(int line, const absl::Status& status) {
  if (status.code() != absl::StatusCode::kFailedPrecondition ||
      absl::StartsWith(status.message(), "line ")) {
    return status;
  }
  return absl::FailedPreconditionError(absl::StrCat("line ", line, ": ", status.message()));
}

// Other lists and maps take their elements from ones that exist: they grow no deeper.
absl::StatusOr<Value> Bounded(Value value) {
  if (value.depth() <= kMostDepth) return value;
  return absl::FailedPreconditionError(
      absl::StrCat("more than ", kMostDepth, " lists and mappings in each other"));
}

absl::StatusOr<Value> MakeRange(const CallArguments& arguments, Budget* budget) {
  ASSIGN_OR_RETURN(const auto bound, Bind(arguments, {"start", "stop", "step"}));
  ASSIGN_OR_RETURN(int64_t start, IntegerArgument(bound[0], "the range", 0));
  ASSIGN_OR_RETURN(int64_t stop, IntegerArgument(bound[1], "the end of the range", start));
  ASSIGN_OR_RETURN(const int64_t step, IntegerArgument(bound[2], "the step of the range", 1));
  if (bound[1] == nullptr) start = 0;
  if (step == 0) return absl::FailedPreconditionError("a range by steps of 0");
  List list;
  for (int64_t i = start; step > 0 ? i < stop : i > stop;) {
    RETURN_IF_ERROR(budget->Spend(kStep));
    list.push_back(Value(i));
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  return Value(std::move(list));
}

}  // namespace

absl::StatusOr<Value> Interpreter::Evaluate(const Expression& expression) {
  RETURN_IF_ERROR(budget_.Spend(kStep));
  absl::StatusOr<Value> value =
      std::visit([this](const auto& node) { return ValueOf(node); }, expression.node);
  if (!value.ok()) return AtLine(expression.line, value.status());
  return value;
}

absl::StatusOr<Value> Interpreter::EvaluateOptional(const ExpressionPtr& expression) {
  if (expression == nullptr) return Value();
  return Evaluate(*expression);
}

absl::StatusOr<CallArguments> Interpreter::EvaluateAll(const Arguments& arguments) {
  CallArguments values;
  for (const ExpressionPtr& argument : arguments.positional) {
    ASSIGN_OR_RETURN(Value value, Evaluate(*argument));
    values.positional.push_back(std::move(value));
  }
  for (const auto& [name, argument] : arguments.named) {
    ASSIGN_OR_RETURN(Value value, Evaluate(*argument));
    values.named.emplace_back(name, std::move(value));
  }
  return values;
}

absl::StatusOr<Value> Interpreter::ValueOf(const Literal& literal) { return literal.value; }

absl::StatusOr<Value> Interpreter::ValueOf(const Name& name) { return Lookup(name.name); }

Value Interpreter::Lookup(absl::string_view name) const {
  for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
    const Value* value = FindMember(*scope, name);
    if (value != nullptr) return *value;
  }
  if (name == "namespace") return Value(Function::kNamespace);
  if (name == "raise_exception") return Value(Function::kRaiseException);
  if (name == "range") return Value(Function::kRange);
  return Value(Undefined{std::string(name)});
}

absl::StatusOr<Value> Interpreter::ValueOf(const ListLiteral& list) {
  List values;
  for (const ExpressionPtr& element : list.elements) {
    ASSIGN_OR_RETURN(Value value, Evaluate(*element));
    values.push_back(std::move(value));
  }
  return Bounded(Value(std::move(values)));
}

absl::StatusOr<Value> Interpreter::ValueOf(const MapLiteral& map) {
  Map values;
  for (const auto& [key_expression, value_expression] : map.members) {
    ASSIGN_OR_RETURN(const Value key, Evaluate(*key_expression));
    ASSIGN_OR_RETURN(const MarkedText name, StringArgument(&key, "a key"));
    ASSIGN_OR_RETURN(Value value, Evaluate(*value_expression));
    SetMember(&values, name.text(), std::move(value));
  }
  return Bounded(Value(std::move(values)));
}

absl::StatusOr<Value> Interpreter::ValueOf(const Attribute& attribute) {
  ASSIGN_OR_RETURN(const Value object, Evaluate(*attribute.object));
  return MemberOf(object, Value::Own(attribute.name));
}

absl::StatusOr<Value> Interpreter::ValueOf(const Subscript& subscript) {
  ASSIGN_OR_RETURN(const Value object, Evaluate(*subscript.object));
  ASSIGN_OR_RETURN(const Value index, Evaluate(*subscript.index));
  if (object.string() != nullptr) RETURN_IF_ERROR(budget_.Spend(object.string()->size()));
  return MemberOf(object, index);
}

absl::StatusOr<Value> Interpreter::ValueOf(const Slice& slice) {
  ASSIGN_OR_RETURN(const Value object, Evaluate(*slice.object));
  ASSIGN_OR_RETURN(const Value start, EvaluateOptional(slice.start));
  ASSIGN_OR_RETURN(const Value stop, EvaluateOptional(slice.stop));
  ASSIGN_OR_RETURN(const Value step, EvaluateOptional(slice.step));
  return SliceOf(object, start, stop, step, &budget_);
}

absl::StatusOr<Value> Interpreter::ValueOf(const Call& call) {
  ASSIGN_OR_RETURN(const CallArguments arguments, EvaluateAll(call.arguments));
  const auto* method = std::get_if<Attribute>(&call.callee->node);
  if (method != nullptr) {
    ASSIGN_OR_RETURN(const Value object, Evaluate(*method->object));
    return CallMethod(object, method->name, arguments, &budget_);
  }
  ASSIGN_OR_RETURN(const Value callee, Evaluate(*call.callee));
  if (callee.function() != nullptr) return CallFunction(*callee.function(), arguments);
  if (callee.macro() != nullptr) return CallMacro(*callee.macro(), arguments);
  return absl::FailedPreconditionError(absl::StrCat("a call of ", callee.KindName()));
}

absl::StatusOr<Value> Interpreter::CallFunction(Function function, const CallArguments& arguments) {
  switch (function) {
    case Function::kNamespace: {
      namespaces_.push_back(std::make_unique<Map>());
      Map* const members = namespaces_.back().get();
      for (const Value& argument : arguments.positional) {
        if (argument.map() == nullptr) {
          return absl::FailedPreconditionError("namespace() of what is no mapping");
        }
        for (const auto& [name, value] : *argument.map()) SetMember(members, name, value);
      }
      for (const auto& [name, value] : arguments.named) SetMember(members, name, value);
      return Value(Value::Namespace{members});
    }
    case Function::kRaiseException: {
      ASSIGN_OR_RETURN(const auto bound, Bind(arguments, {"message"}));
      ASSIGN_OR_RETURN(const MarkedText message, StringArgument(bound[0], "the message"));
      return absl::InvalidArgumentError(
          absl::StrCat("the chat template refuses the conversation: ", message.text()));
    }
    case Function::kRange:
      return MakeRange(arguments, &budget_);
  }
  return Value();
}

absl::StatusOr<Value> Interpreter::ValueOf(const Filter& filter) {
  ASSIGN_OR_RETURN(const Value input, Evaluate(*filter.input));
  ASSIGN_OR_RETURN(const CallArguments arguments, EvaluateAll(filter.arguments));
  return ApplyFilter(filter.name, input, arguments, &budget_);
}

absl::StatusOr<Value> Interpreter::ValueOf(const Test& test) {
  ASSIGN_OR_RETURN(const Value input, Evaluate(*test.input));
  ASSIGN_OR_RETURN(const CallArguments arguments, EvaluateAll(test.arguments));
  ASSIGN_OR_RETURN(const bool passes, PassesTest(test.name, input, arguments, &budget_));
  return Value(passes);
}

absl::StatusOr<Value> Interpreter::ValueOf(const Unary& unary) {
  ASSIGN_OR_RETURN(const Value operand, Evaluate(*unary.operand));
  return Apply(unary.op, operand);
}

absl::StatusOr<Value> Interpreter::ValueOf(const Binary& binary) {
  ASSIGN_OR_RETURN(Value left, Evaluate(*binary.left));
  if (binary.op == Binary::Operator::kAnd && !left.IsTrue()) return left;
  if (binary.op == Binary::Operator::kOr && left.IsTrue()) return left;
  ASSIGN_OR_RETURN(Value right, Evaluate(*binary.right));
  if (binary.op == Binary::Operator::kAnd || binary.op == Binary::Operator::kOr) return right;
  return Apply(binary.op, left, right, &budget_);
}

absl::StatusOr<Value> Interpreter::ValueOf(const Conditional& conditional) {
  ASSIGN_OR_RETURN(const Value test, Evaluate(*conditional.test));
  if (test.IsTrue()) return Evaluate(*conditional.then);
  if (conditional.otherwise == nullptr) return Value(Undefined{"a condition without else"});
  return Evaluate(*conditional.otherwise);
}

}  // namespace reprise::engine::jinja
