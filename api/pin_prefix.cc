#include "api/pin_prefix.h"

#include <cstdint>

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace reprise::api {

absl::StatusOr<cachestore::PinnedPrefix> PinPrefix(const grpc::ServerContext& context,
                                                   cachestore::TieredStore& store,
                                                   const cachestore::NamespaceHandle& ns,
                                                   absl::Span<const cachestore::TokenId> tokens) {
  const int64_t num_blocks = static_cast<int64_t>(tokens.size()) / ns.layout.block_tokens;
  cachestore::PinTicket ticket = store.Pin(ns, tokens, num_blocks, {});
  // In steps, because a synchronous handler learns of a cancelled call only by asking.
  while (!ticket.Wait(absl::Now() + absl::Milliseconds(50))) {
    if (context.IsCancelled()) {
      return absl::CancelledError("the call was cancelled while its blocks were loading");
    }
  }
  return ticket.Take();
}

}  // namespace reprise::api
