// Files and stdin as commands read and write them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace reprise::api {

// The bytes of a file. BLOCKS. kNotFound names the file and the cause.
absl::StatusOr<std::string> ReadFile(const std::string& path);
// Everything on stdin. BLOCKS.
std::string ReadStdin();
// Writes or replaces a file. BLOCKS. kInternal names the file and the cause.
absl::Status WriteFile(const std::string& path, absl::string_view bytes);

// Token ids of a file: decimal numbers with white space, commas or brackets between them, so that a
// JSON array does as well. BLOCKS. kInvalidArgument names the file and what is not a token id.
absl::StatusOr<std::vector<uint32_t>> ReadTokens(const std::string& path);

}  // namespace reprise::api
