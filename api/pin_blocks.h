// Pins cached blocks for a synchronous call.
#pragma once

#include <grpcpp/server_context.h>

#include "absl/status/statusor.h"
#include "cachestore/store/tiered_store.h"

namespace reprise::api {

// What a range of a prompt came to.
struct PinnedRange {
  int64_t matched_blocks = 0;       // of the range, when it was asked for
  cachestore::PinnedPrefix pinned;  // the leading ones that are in RAM now
};

// What `ticket` comes to. BLOCKS until it is done. kCancelled: the call was cancelled meanwhile, or
// its deadline has passed.
absl::StatusOr<PinnedRange> Await(const grpc::ServerContext& context, cachestore::PinTicket ticket);

// Pins the blocks of `range` that belong to the longest cached prefix of `prompt`. BLOCKS while
// they are loaded. kCancelled: as Await.
absl::StatusOr<PinnedRange> PinBlocks(const grpc::ServerContext& context,
                                      cachestore::TieredStore& store,
                                      const cachestore::NamespaceHandle& ns,
                                      const cachestore::BlockContent& prompt,
                                      cachestore::BlockRange range);

}  // namespace reprise::api
