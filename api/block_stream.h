// Streams the cached blocks of a prompt to a client of Get.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/sync_stream.h>

#include <cstdint>

#include "cachestore/store/tiered_store.h"
#include "reprise/v1/cache.pb.h"

namespace reprise::api {

namespace v1 = ::reprise::v1;

// Sends the cached blocks of `prompt` from `first_block` on, holding kMaxPinnedBytes of them, or a
// quarter of RAM, at a time. A block that is missing or bad ends the stream, with OK. BLOCKS until
// the client has read them. CANCELLED: it has stopped reading.
grpc::Status StreamBlocks(const grpc::ServerContext& context, cachestore::TieredStore& store,
                          const cachestore::NamespaceHandle& ns,
                          const cachestore::BlockContent& prompt, int64_t first_block,
                          grpc::ServerWriter<v1::GetResponse>* writer);

}  // namespace reprise::api
