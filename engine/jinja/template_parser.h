// Reads the statements of a template. Pure function, thread-safe.
#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "engine/jinja/syntax.h"

namespace reprise::engine::jinja {

// The statements of `source`. kInvalidArgument, with the line: malformed, deeper than kMostDepth,
// or a construct that is not supported, with its name.
absl::StatusOr<Block> ParseTemplate(absl::string_view source);

}  // namespace reprise::engine::jinja
