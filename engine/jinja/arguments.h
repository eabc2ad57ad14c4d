// CallArguments: the values of a call's arguments. Plain data.
#pragma once

#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "engine/jinja/value.h"

namespace reprise::engine::jinja {

struct CallArguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

// The argument of each of `parameters`, null for one that is left out; they live as long as
// `arguments`. kFailedPrecondition: too many, or a name that is none of them.
absl::StatusOr<std::vector<const Value*>> Bind(const CallArguments& arguments,
                                               std::initializer_list<const char*> parameters);

// Its text; `what` names the argument. kFailedPrecondition: left out, or no string.
absl::StatusOr<MarkedText> StringArgument(const Value* argument, absl::string_view what);
// Its number, or `fallback` when it is left out or none. kFailedPrecondition: no number.
absl::StatusOr<int64_t> IntegerArgument(const Value* argument, absl::string_view what,
                                        int64_t fallback);

}  // namespace reprise::engine::jinja
