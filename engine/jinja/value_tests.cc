#include "engine/jinja/value_tests.h"

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "cachestore/base/status_macros.h"
#include "engine/jinja/operators.h"

namespace reprise::engine::jinja {
namespace {

// Tests of the value alone.
struct KindTest {
  const char* name;
  bool (*passes)(const Value& value);
};

bool IsMapping(const Value& value) { return value.map() != nullptr && value.members() == nullptr; }
bool IsSequence(const Value& value) {
  return value.string() != nullptr || value.list() != nullptr || IsMapping(value);
}
// To Python a boolean is a number.
bool IsInteger(const Value& value) { return value.integer() != nullptr; }

constexpr KindTest kKindTests[] = {
    {"defined", [](const Value& v) { return !v.is_undefined(); }},
    {"undefined", [](const Value& v) { return v.is_undefined(); }},
    {"none", [](const Value& v) { return v.is_none(); }},
    {"string", [](const Value& v) { return v.string() != nullptr; }},
    {"mapping", IsMapping},
    {"sequence", IsSequence},
    {"iterable", [](const Value& v) { return IsSequence(v) || v.is_undefined(); }},
    {"boolean", [](const Value& v) { return v.boolean() != nullptr; }},
    {"integer", IsInteger},
    {"number", [](const Value& v) { return IsInteger(v) || v.boolean() != nullptr; }},
    {"float", [](const Value&) { return false; }},
    {"true", [](const Value& v) { return v.boolean() != nullptr && *v.boolean(); }},
    {"false", [](const Value& v) { return v.boolean() != nullptr && !*v.boolean(); }},
    {"callable", [](const Value& v) { return v.macro() != nullptr || v.function() != nullptr; }},
};

struct OperatorTest {
  const char* name;
  Binary::Operator op;
};
constexpr OperatorTest kOperatorTests[] = {
    {"equalto", Binary::Operator::kEqual},
    {"eq", Binary::Operator::kEqual},
    {"sameas", Binary::Operator::kEqual},
    {"ne", Binary::Operator::kNotEqual},
    {"in", Binary::Operator::kIn},
    {"lt", Binary::Operator::kLess},
    {"lessthan", Binary::Operator::kLess},
    {"le", Binary::Operator::kLessOrEqual},
    {"gt", Binary::Operator::kGreater},
    {"greaterthan", Binary::Operator::kGreater},
    {"ge", Binary::Operator::kGreaterOrEqual},
};

absl::StatusOr<bool> IsDivisible(const Value& value, int64_t by) {
  if (value.integer() == nullptr || by == 0) {
    return absl::FailedPreconditionError(absl::StrCat("cannot divide ", value.KindName()));
  }
  return *value.integer() % by == 0;
}

}  // namespace

absl::StatusOr<bool> PassesTest(absl::string_view name, const Value& value,
                                const CallArguments& arguments, Budget* budget) {
  for (const KindTest& test : kKindTests) {
    if (name != test.name) continue;
    RETURN_IF_ERROR(Bind(arguments, {}).status());
    return test.passes(value);
  }
  for (const OperatorTest& test : kOperatorTests) {
    if (name != test.name) continue;
    ASSIGN_OR_RETURN(const auto bound, Bind(arguments, {"other"}));
    ASSIGN_OR_RETURN(const Value result,
                     Apply(test.op, value, bound[0] == nullptr ? Value() : *bound[0], budget));
    return result.IsTrue();
  }
  if (name == "even" || name == "odd") {
    RETURN_IF_ERROR(Bind(arguments, {}).status());
    ASSIGN_OR_RETURN(const bool is_even, IsDivisible(value, 2));
    return is_even == (name == "even");
  }
  if (name == "divisibleby") {
    ASSIGN_OR_RETURN(const auto bound, Bind(arguments, {"num"}));
    ASSIGN_OR_RETURN(const int64_t by, IntegerArgument(bound[0], "the divisor", 0));
    // The remainder of the lowest number by -1 overflows.
    return IsDivisible(value, by == -1 ? 1 : by);
  }
  return absl::FailedPreconditionError(absl::StrCat("test \"", name, "\" is not supported"));
}

}  // namespace reprise::engine::jinja
