// Streams cached blocks to a client of Get.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/sync_stream.h>

#include "api/block_source.h"
#include "reprise/v1/cache.pb.h"

namespace reprise::api {

namespace v1 = ::reprise::v1;

// Sends all blocks of `source`. BLOCKS until the client has read them. CANCELLED: it has stopped
// reading.
grpc::Status StreamBlocks(const grpc::ServerContext& context, BlockSource& source,
                          grpc::ServerWriter<v1::GetResponse>* writer);

}  // namespace reprise::api
