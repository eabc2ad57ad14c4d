// Small random traces for tests of replays.
#pragma once

#include <cstdint>
#include <random>

#include "cachestore/trace/trace.h"

namespace reprise::bench {

// `num_requests` requests with blocks of 16 tokens, of which there are at most `max_blocks`: some
// go on where an earlier one ended, some branch off, some come again, some are empty. With
// `answers` every other one leaves some behind, which are no lookup.
inline cachestore::Trace RandomTrace(uint64_t seed, int num_requests, size_t max_blocks,
                                     bool answers = false) {
  std::mt19937_64 random(seed);
  cachestore::Trace trace;
  trace.name = "random";
  trace.block_tokens = 16;
  int64_t time_ms = 0;
  for (int i = 0; i < num_requests; ++i) {
    cachestore::TraceRequest request;
    request.time_ms = time_ms += static_cast<int64_t>(random() % 1000);
    if (trace.num_blocks() > 0 && random() % 5 > 0) {
      request.last = static_cast<cachestore::BlockNumber>(random() % trace.num_blocks());
    }
    for (uint64_t n = random() % 4; n > 0 && trace.num_blocks() < max_blocks; --n) {
      request.last = trace.AddBlock(request.last);
    }
    const auto num_blocks = static_cast<uint32_t>(trace.NumBlocksOf(request));
    // The last block may not be full.
    request.input_tokens = 16 * num_blocks - (num_blocks > 0 ? random() % 16 : 0);
    request.output_tokens = static_cast<uint32_t>(random() % 100);
    request.type = static_cast<cachestore::TraceRequestType>(random() % 3);
    trace.requests.push_back(request);
    if (!answers || num_blocks == 0 || random() % 2 == 0) continue;
    request.input_tokens = request.output_tokens = 0;
    for (uint64_t n = random() % 3; n > 0 && trace.num_blocks() < max_blocks; --n) {
      request.last = trace.AddBlock(request.last);
    }
    trace.requests.push_back(request);
  }
  return trace;
}

}  // namespace reprise::bench
