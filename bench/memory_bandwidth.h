// The machine's limit for work that reads memory once.
#pragma once

#include <cstdint>

namespace reprise::bench {

// Bytes per second that `num_threads` threads (0: one per core) read from a buffer far larger than
// the caches; the median of several passes. BLOCKS for about a second.
double MeasureReadBandwidth(int32_t num_threads);

}  // namespace reprise::bench
