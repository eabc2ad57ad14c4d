// JSON from files that others made: bounded in size and in depth before a value is built, so that
// no file can exhaust the stack (nlohmann's copies and dumps recurse) or take the process down.
// Pure functions, thread-safe.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace reprise::engine {

// Arrays and objects inside of each other; files of models have about six.
inline constexpr int kMostJsonDepth = 64;

// The whole of the file at `path`. kNotFound: there is none; kInvalidArgument: not a regular file,
// larger than `max_bytes`, or not readable to its end; kResourceExhausted: no memory for it.
absl::StatusOr<std::string> ReadTextFile(const std::string& path, int64_t max_bytes);

// kInvalidArgument: arrays and objects of `text`, which need not be JSON, nest deeper than
// kMostJsonDepth. `origin` names it.
absl::Status CheckJsonDepth(absl::string_view text, absl::string_view origin);

// The value that `text` describes; `origin` names the text in errors. kInvalidArgument: malformed
// (with the place), or deeper than kMostJsonDepth; kResourceExhausted: no memory for it.
absl::StatusOr<nlohmann::json> ParseJson(absl::string_view text, absl::string_view origin);

}  // namespace reprise::engine
