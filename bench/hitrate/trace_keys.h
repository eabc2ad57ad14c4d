// The block keys that a replay gives to the numbers of a trace. Pure functions.
#pragma once

#include <cstdint>

#include "cachestore/block/block_key.h"
#include "cachestore/trace/trace.h"

namespace reprise::bench {

// A different key for each number, as evenly spread as keys are. Its only word is the number.
inline cachestore::BlockKey KeyOf(cachestore::BlockNumber block) {
  const auto mix = [](uint64_t x) {
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
  };
  const uint64_t lo = mix((uint64_t{block} + 1) * 0x9e3779b97f4a7c15);
  return {.hi = mix(lo), .lo = lo};
}

// The root of the namespace of a replay: no block's key, whose `hi` is a mix of `lo`.
inline constexpr cachestore::BlockKey kReplayRoot = {.hi = 1, .lo = 0};

}  // namespace reprise::bench
