// KTR1 traces: what is read without an error is a trace, with chains that end at a root, requests
// in the order of their times, and no more blocks than allowed.
#include <cstdint>
#include <vector>

#include "cachestore/base/check.h"
#include "cachestore/trace/ktr_trace.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace reprise::cachestore;  // NOLINT
  constexpr uint64_t kMaxBlocks = 1 << 16;
  const absl::string_view bytes(reinterpret_cast<const char*>(data), size);
  const absl::StatusOr<Trace> trace = ParseKtrTrace(bytes, "trace", kMaxBlocks);
  if (!trace.ok()) return 0;
  CHECK(trace->num_blocks() <= kMaxBlocks && trace->block_tokens > 0);
  int64_t time_ms = 0;
  size_t visited = 0;
  std::vector<BlockNumber> chain;
  for (const TraceRequest& request : trace->requests) {
    CHECK(request.time_ms >= time_ms);
    time_ms = request.time_ms;
    if (visited > kMaxBlocks) continue;  // long chains again and again say nothing new
    trace->ChainOf(request, chain);
    visited += chain.size();
    CHECK(chain.empty() || trace->parents[chain.front()] == kNoBlockNumber);
  }
  return 0;
}
