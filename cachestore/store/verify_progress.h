// VerifyProgress: how far TieredStore::Verify has come. Plain data.
#pragma once

#include <cstdint>

namespace reprise::cachestore {

struct VerifyProgress {
  int64_t verified_blocks = 0;  // good
  int64_t failed_blocks = 0;    // not what was stored: taken out
  int64_t unread_blocks = 0;    // I/O errors: left, unless it was not the first one of the block
  int64_t total_blocks = 0;     // on disk when it began
};

}  // namespace reprise::cachestore
