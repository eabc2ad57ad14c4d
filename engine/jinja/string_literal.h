// Strings as templates write them. Pure function, thread-safe.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace reprise::engine::jinja {

// `text`, what stands between the quotes, with Python's escapes resolved; a backslash that begins
// none stays. kInvalidArgument: an escape by name or in octal, or of no character.
absl::StatusOr<std::string> ResolveEscapes(absl::string_view text);

}  // namespace reprise::engine::jinja
