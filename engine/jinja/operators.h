// Operators and conversions of values, as Python and Jinja have them. Pure functions, thread-safe.
// kFailedPrecondition names the kinds that do not go together; kResourceExhausted: see Budget.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "engine/jinja/budget.h"
#include "engine/jinja/syntax.h"
#include "engine/jinja/value.h"

namespace reprise::engine::jinja {

// `a` op `b`. REQUIRES: op is neither kOr nor kAnd, which look at `b` only when they need it.
absl::StatusOr<Value> Apply(Binary::Operator op, const Value& a, const Value& b, Budget* budget);
absl::StatusOr<Value> Apply(Unary::Operator op, const Value& value);

// As Python's ==. Values of different kinds are different, but true is 1 and false is 0.
absl::StatusOr<bool> Equal(const Value& a, const Value& b, Budget* budget);
// Whether `container` has `element`.
absl::StatusOr<bool> Contains(const Value& container, const Value& element, Budget* budget);

// What printing writes. Lists and mappings are not supported.
absl::StatusOr<MarkedText> ToText(const Value& value);

// What a loop goes over: elements, keys, characters; nothing for what is not defined.
absl::StatusOr<List> ElementsOf(const Value& value, Budget* budget);

// value[index] and value.name: not defined when there is none.
absl::StatusOr<Value> MemberOf(const Value& value, const Value& index);
absl::StatusOr<Value> SliceOf(const Value& value, const Value& start, const Value& stop,
                              const Value& step, Budget* budget);

}  // namespace reprise::engine::jinja
