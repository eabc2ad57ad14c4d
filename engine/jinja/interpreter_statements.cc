// Interpreter's statements.
#include <algorithm>
#include <iterator>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "cachestore/base/status_macros.h"
#include "engine/jinja/interpreter.h"
#include "engine/jinja/operators.h"

namespace reprise::engine::jinja {
namespace {

// Macros that call each other; each takes the stack of a whole tree.
constexpr int kMostCalls = 16;

// What `loop` is while element `index` of `elements` is looked at.
Value LoopVariable(const List& elements, size_t index) {
  const int64_t count = static_cast<int64_t>(elements.size());
  const int64_t at = static_cast<int64_t>(index);
  Map loop = {{"index0", Value(at)},
              {"index", Value(at + 1)},
              {"revindex0", Value(count - at - 1)},
              {"revindex", Value(count - at)},
              {"first", Value(at == 0)},
              {"last", Value(at + 1 == count)},
              {"length", Value(count)},
              {"depth", Value(int64_t{1})}};
  if (at > 0) loop.emplace_back("previtem", elements[index - 1]);
  if (at + 1 < count) loop.emplace_back("nextitem", elements[index + 1]);
  return Value(std::move(loop));
}

}  // namespace

Interpreter::Interpreter(Map variables, Budget* budget) : budget_(*budget) {
  scopes_.push_back(std::move(variables));
}

absl::StatusOr<MarkedText> Interpreter::Run(const Block& block) {
  RETURN_IF_ERROR(RunBlock(block).status());
  return std::move(written_);
}

absl::StatusOr<Interpreter::Flow> Interpreter::RunBlock(const Block& block) {
  for (const Statement& statement : block) {
    RETURN_IF_ERROR(budget_.Spend(kStep));
    ASSIGN_OR_RETURN(const Flow flow, std::visit([this](const auto& node) { return RunNode(node); },
                                                 statement.node));
    if (flow != Flow::kOn) return flow;
  }
  return Flow::kOn;
}

absl::Status Interpreter::Write(const MarkedText& text) {
  RETURN_IF_ERROR(budget_.Spend(text.size()));
  written_.Append(text);
  return absl::OkStatus();
}

absl::StatusOr<Interpreter::Flow> Interpreter::RunNode(const Text& text) {
  RETURN_IF_ERROR(budget_.Spend(text.text.size()));
  written_.AppendOwn(text.text);
  return Flow::kOn;
}

absl::StatusOr<Interpreter::Flow> Interpreter::RunNode(const Output& output) {
  ASSIGN_OR_RETURN(const Value value, Evaluate(*output.value));
  const absl::StatusOr<MarkedText> text = ToText(value);
  if (!text.ok()) {
    return absl::FailedPreconditionError(
        absl::StrCat("line ", output.value->line, ": ", text.status().message()));
  }
  RETURN_IF_ERROR(Write(*text));
  return Flow::kOn;
}

absl::StatusOr<Interpreter::Flow> Interpreter::RunNode(const If& statement) {
  for (const If::Branch& branch : statement.branches) {
    ASSIGN_OR_RETURN(const Value test, Evaluate(*branch.test));
    if (test.IsTrue()) return RunBlock(branch.body);
  }
  return RunBlock(statement.otherwise);
}

absl::StatusOr<List> Interpreter::LoopElements(const For& statement) {
  ASSIGN_OR_RETURN(const Value iterated, Evaluate(*statement.elements));
  ASSIGN_OR_RETURN(List elements, ElementsOf(iterated, &budget_));
  if (statement.condition == nullptr) return elements;
  List kept;
  for (Value& element : elements) {
    scopes_.emplace_back();
    RETURN_IF_ERROR(Assign(statement.targets, element));
    ASSIGN_OR_RETURN(const Value condition, Evaluate(*statement.condition));
    scopes_.pop_back();
    if (condition.IsTrue()) kept.push_back(std::move(element));
  }
  return kept;
}

absl::StatusOr<Interpreter::Flow> Interpreter::RunNode(const For& statement) {
  ASSIGN_OR_RETURN(const List elements, LoopElements(statement));
  bool any_ran_on = false;
  for (size_t i = 0; i < elements.size(); ++i) {
    RETURN_IF_ERROR(budget_.Spend(16 * kStep));  // for the loop variable
    scopes_.push_back({{"loop", LoopVariable(elements, i)}});
    RETURN_IF_ERROR(Assign(statement.targets, elements[i]));
    ASSIGN_OR_RETURN(const Flow flow, RunBlock(statement.body));
    scopes_.pop_back();
    if (flow == Flow::kBreak) break;
    any_ran_on = any_ran_on || flow == Flow::kOn;
  }
  // To Jinja a loop was empty if no round of it came to its end.
  if (any_ran_on) return Flow::kOn;
  return RunBlock(statement.otherwise);
}

absl::Status Interpreter::Assign(const std::vector<std::string>& targets, const Value& value) {
  if (targets.size() == 1) {
    SetMember(&scopes_.back(), targets[0], value);
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const List parts, ElementsOf(value, &budget_));
  if (parts.size() != targets.size()) {
    return absl::FailedPreconditionError(
        absl::StrCat(parts.size(), " values for ", targets.size(), " variables"));
  }
  for (size_t i = 0; i < targets.size(); ++i) SetMember(&scopes_.back(), targets[i], parts[i]);
  return absl::OkStatus();
}

absl::StatusOr<Interpreter::Flow> Interpreter::RunNode(const SetNames& statement) {
  ASSIGN_OR_RETURN(const Value value, Evaluate(*statement.value));
  RETURN_IF_ERROR(Assign(statement.targets, value));
  return Flow::kOn;
}

absl::StatusOr<Interpreter::Flow> Interpreter::RunNode(const SetAttribute& statement) {
  ASSIGN_OR_RETURN(Value value, Evaluate(*statement.value));
  const Value object = Lookup(statement.object);
  if (object.members() == nullptr) {
    return absl::FailedPreconditionError(absl::StrCat("line ", statement.value->line, ": set ",
                                                      statement.object, ".", statement.attribute,
                                                      " of what is no namespace"));
  }
  SetMember(object.members(), statement.attribute, std::move(value));
  return Flow::kOn;
}

absl::StatusOr<Interpreter::Flow> Interpreter::RunNode(const SetBlock& statement) {
  ASSIGN_OR_RETURN(MarkedText text, Capture(statement.body));
  SetMember(&scopes_.back(), statement.target, Value(std::move(text)));
  return Flow::kOn;
}

absl::StatusOr<Interpreter::Flow> Interpreter::RunNode(const LoopControl& control) {
  return control == LoopControl::kBreak ? Flow::kBreak : Flow::kContinue;
}

absl::StatusOr<Interpreter::Flow> Interpreter::RunNode(const Macro& macro) {
  SetMember(&scopes_.back(), macro.definition->name, Value(macro.definition.get()));
  return Flow::kOn;
}

absl::StatusOr<MarkedText> Interpreter::Capture(const Block& block) {
  MarkedText outer = std::exchange(written_, MarkedText());
  scopes_.emplace_back();
  RETURN_IF_ERROR(RunBlock(block).status());
  scopes_.pop_back();
  return std::exchange(written_, std::move(outer));
}

absl::Status Interpreter::BindParameters(const MacroDefinition& macro,
                                         const CallArguments& arguments) {
  for (size_t i = 0; i < macro.parameters.size(); ++i) {
    const MacroDefinition::Parameter& parameter = macro.parameters[i];
    Value value = Value(Undefined{parameter.name});
    const auto named = std::find_if(arguments.named.begin(), arguments.named.end(),
                                    [&](const auto& a) { return a.first == parameter.name; });
    if (i < arguments.positional.size()) {
      value = arguments.positional[i];
    } else if (named != arguments.named.end()) {
      value = named->second;
    } else if (parameter.fallback != nullptr) {
      // It may name the parameters before it.
      ASSIGN_OR_RETURN(value, Evaluate(*parameter.fallback));
    }
    SetMember(&scopes_.back(), parameter.name, std::move(value));
  }
  return absl::OkStatus();
}

absl::StatusOr<Value> Interpreter::CallMacro(const MacroDefinition& macro,
                                             const CallArguments& arguments) {
  if (++calls_ > kMostCalls) return absl::FailedPreconditionError("macros call each other forever");
  if (arguments.positional.size() > macro.parameters.size()) {
    return absl::FailedPreconditionError(
        absl::StrCat("macro ", macro.name, " takes ", macro.parameters.size(), " arguments"));
  }
  // A macro sees what is defined at the top, not what surrounds its call.
  std::vector<Map> callers(std::make_move_iterator(scopes_.begin() + 1),
                           std::make_move_iterator(scopes_.end()));
  scopes_.resize(1);
  scopes_.emplace_back();
  RETURN_IF_ERROR(BindParameters(macro, arguments));
  ASSIGN_OR_RETURN(MarkedText text, Capture(macro.body));
  scopes_.resize(1);
  scopes_.insert(scopes_.end(), std::make_move_iterator(callers.begin()),
                 std::make_move_iterator(callers.end()));
  --calls_;
  return Value(std::move(text));
}

}  // namespace reprise::engine::jinja
