// RecordingTotals: what all recordings of a server came to, the one under way included. Plain data.
#pragma once

#include <cstdint>

namespace reprise::api {

struct RecordingTotals {
  int64_t running = 0;   // 1: one is under way
  int64_t requests = 0;  // in their files
  int64_t dropped_requests = 0;
};

}  // namespace reprise::api
