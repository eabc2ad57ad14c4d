// CHECK: a broken invariant or a misuse of our own API ends the process with the failed condition,
// in every build. (Debian's Abseil has no absl/log yet.) Never used for bad input.
#pragma once

#include "absl/base/internal/raw_logging.h"
#include "absl/base/optimization.h"

#define CHECK(condition)                                                               \
  do {                                                                                 \
    if (ABSL_PREDICT_FALSE(!(condition)))                                              \
      ABSL_RAW_LOG(FATAL, "CHECK failed: %s (%s:%d)", #condition, __FILE__, __LINE__); \
  } while (false)
