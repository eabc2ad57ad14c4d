// The methods of values: "text".strip(), mapping.items(). Pure function, thread-safe.
#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "engine/jinja/arguments.h"
#include "engine/jinja/budget.h"
#include "engine/jinja/value.h"

namespace reprise::engine::jinja {

// What object.name(arguments) gives. kFailedPrecondition: a method that is not supported, by name,
// or arguments that it does not take; kResourceExhausted: see Budget.
absl::StatusOr<Value> CallMethod(const Value& object, absl::string_view name,
                                 const CallArguments& arguments, Budget* budget);

// The members of a mapping as lists of key and value.
List ItemsOf(const Map& map);

}  // namespace reprise::engine::jinja
