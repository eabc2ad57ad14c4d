// Cuts a template into tokens. White space is controlled as chat templates expect it: trim_blocks
// and lstrip_blocks are on, a line end at the end of the template is dropped, and the signs - and +
// in tags count. Pure function, thread-safe.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "engine/jinja/token.h"

namespace reprise::engine::jinja {

// kInvalidArgument, with the line: a tag or string that is not closed, a character or escape that
// is not known. The last token is kEnd.
absl::StatusOr<std::vector<Token>> Tokenize(absl::string_view source);

}  // namespace reprise::engine::jinja
