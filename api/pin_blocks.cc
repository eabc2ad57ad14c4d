#include "api/pin_blocks.h"

#include <utility>

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace reprise::api {

absl::StatusOr<PinnedRange> Await(const grpc::ServerContext& context,
                                  cachestore::PinTicket ticket) {
  // In steps, because a synchronous handler learns of a cancelled call only by asking.
  while (!ticket.Wait(absl::Now() + absl::Milliseconds(50))) {
    if (context.IsCancelled()) {
      return absl::CancelledError("the call was cancelled while its blocks were loading");
    }
  }
  const int64_t matched_blocks = ticket.matched_blocks();
  return PinnedRange{.matched_blocks = matched_blocks, .pinned = ticket.Take()};
}

absl::StatusOr<PinnedRange> PinBlocks(const grpc::ServerContext& context,
                                      cachestore::TieredStore& store,
                                      const cachestore::NamespaceHandle& ns,
                                      const cachestore::BlockContent& prompt,
                                      cachestore::BlockRange range) {
  return Await(context, store.Pin(ns, prompt, range, {}));
}

}  // namespace reprise::api
