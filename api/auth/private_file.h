// Files that hold secrets. Pure functions.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace reprise::api {

// The bytes of a regular file that belongs to this user or root and that nobody else may read or
// write. BLOCKS. kNotFound: it cannot be opened; kFailedPrecondition: it is open to others, with
// what to change; kInvalidArgument: it has more than `max_bytes`.
absl::StatusOr<std::string> ReadPrivateFile(const std::string& path, int64_t max_bytes);

}  // namespace reprise::api
