// The filters of templates: x | NAME(arguments). Pure function, thread-safe.
#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "engine/jinja/arguments.h"
#include "engine/jinja/budget.h"
#include "engine/jinja/value.h"

namespace reprise::engine::jinja {

// What filter `name` makes of `value`. kFailedPrecondition: a filter that is not supported, by
// name, or values that it does not go with; kResourceExhausted: see Budget.
absl::StatusOr<Value> ApplyFilter(absl::string_view name, const Value& value,
                                  const CallArguments& arguments, Budget* budget);

}  // namespace reprise::engine::jinja
