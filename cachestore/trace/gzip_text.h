// GzipText: files that may be compressed with gzip, read whole.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace reprise::cachestore {

struct GzipText {
  std::string bytes;    // what could be read
  absl::Status ending;  // why not more; OK at the end of the file
};

// Reads a file of one gzip member or several, or one that is not compressed at all. kNotFound,
// kInternal: it cannot be opened. A file that is damaged or was cut off gives what comes before.
absl::StatusOr<GzipText> ReadGzipText(const std::string& path);

}  // namespace reprise::cachestore
