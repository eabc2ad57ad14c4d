// Sizes in bytes as people write them. Pure functions.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace reprise::api {

// Bytes of "4096", "512MiB", "8GB", "1.5 GiB". K, M, G, T with B are powers of 1000, with iB (or
// alone) powers of 1024; upper or lower case. kInvalidArgument quotes the text: not a size,
// negative, not a whole number of bytes, or above 2^63 - 1.
absl::StatusOr<int64_t> ParseByteSize(absl::string_view text);

// The shortest text that ParseByteSize gives the same value for: 1073741824 -> "1GiB".
std::string FormatByteSize(int64_t bytes);

}  // namespace reprise::api
