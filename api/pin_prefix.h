// Pins a cached prefix for a synchronous call.
#pragma once

#include <grpcpp/server_context.h>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "cachestore/store/tiered_store.h"

namespace reprise::api {

// The good blocks of the longest cached prefix of `tokens`, pinned in RAM. BLOCKS while they are
// loaded. kCancelled: the call was cancelled meanwhile, or its deadline has passed.
absl::StatusOr<cachestore::PinnedPrefix> PinPrefix(const grpc::ServerContext& context,
                                                   cachestore::TieredStore& store,
                                                   const cachestore::NamespaceHandle& ns,
                                                   absl::Span<const cachestore::TokenId> tokens);

}  // namespace reprise::api
