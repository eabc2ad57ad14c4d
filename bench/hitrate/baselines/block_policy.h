// BlockPolicy: a published replacement policy over single blocks, as its paper has it: it knows
// nothing of chains. PlainCache replays requests against one. Thread-compatible.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "absl/types/span.h"
#include "bench/hitrate/block_cache.h"
#include "cachestore/trace/trace.h"

namespace reprise::bench {

// A use of one block.
struct BlockUse {
  cachestore::BlockNumber block = 0;
  uint32_t depth = 0;   // blocks before it in its chain
  int64_t time_ms = 0;  // of the request
};

class BlockPolicy {
 public:
  virtual ~BlockPolicy() = default;
  // A request begins; its uses follow, tail first.
  virtual void BeginRequest(const cachestore::TraceRequest&,
                            absl::Span<const cachestore::BlockNumber> /*chain*/) {}
  virtual bool Contains(cachestore::BlockNumber block) const = 0;
  // The block is used, and comes in if the policy wants it; others go for it.
  virtual void Use(const BlockUse& use) = 0;
};

// Serves a request with the leading blocks that the policy contains, then uses its blocks from the
// tail to the root, so that the root is the youngest; of a request longer than the capacity only as
// many leading blocks as fit.
class PlainCache : public BlockCache {
 public:
  PlainCache(std::unique_ptr<BlockPolicy> policy, int64_t capacity)
      : policy_(std::move(policy)), capacity_(static_cast<size_t>(capacity)) {}

  size_t Serve(const cachestore::TraceRequest& request,
               absl::Span<const cachestore::BlockNumber> chain) override;

 private:
  const std::unique_ptr<BlockPolicy> policy_;
  const size_t capacity_;
};

}  // namespace reprise::bench
