#include "engine/jinja/arguments.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace reprise::engine::jinja {

absl::StatusOr<std::vector<const Value*>> Bind(const CallArguments& arguments,
                                               std::initializer_list<const char*> parameters) {
  if (arguments.positional.size() > parameters.size()) {
    return absl::FailedPreconditionError(absl::StrCat("at most ", parameters.size(),
                                                      " arguments are supported, there are ",
                                                      arguments.positional.size()));
  }
  std::vector<const Value*> bound(parameters.size(), nullptr);
  for (size_t i = 0; i < arguments.positional.size(); ++i) bound[i] = &arguments.positional[i];
  for (const auto& [name, value] : arguments.named) {
    const auto known = std::find(parameters.begin(), parameters.end(), name);
    if (known == parameters.end()) {
      return absl::FailedPreconditionError(
          absl::StrCat("argument \"", name, "\" is not supported"));
    }
    bound[static_cast<size_t>(known - parameters.begin())] = &value;
  }
  return bound;
}

absl::StatusOr<MarkedText> StringArgument(const Value* argument, absl::string_view what) {
  if (argument != nullptr && argument->string() != nullptr) return *argument->string();
  return absl::FailedPreconditionError(
      absl::StrCat(what, " must be a string, is ",
                   argument == nullptr ? std::string("left out") : argument->KindName()));
}

absl::StatusOr<int64_t> IntegerArgument(const Value* argument, absl::string_view what,
                                        int64_t fallback) {
  if (argument == nullptr || argument->is_none()) return fallback;
  if (argument->integer() != nullptr) return *argument->integer();
  return absl::FailedPreconditionError(
      absl::StrCat(what, " must be a number, is ", argument->KindName()));
}

}  // namespace reprise::engine::jinja
