#include "api/block_stream.h"

#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "api/auth/caller.h"
#include "api/status_codec.h"
#include "cachestore/base/hash.h"

namespace reprise::api {
namespace {

// The message of a block; its pin goes with `block`.
v1::GetResponse BlockMessage(FoundBlock block) {
  v1::GetResponse message;
  message.set_block_index(block.index);
  message.set_payload(block.bytes.data(), block.bytes.size());
  message.set_payload_xxh3(cachestore::HashBytes64(block.bytes));
  message.set_tier(block.tier);
  return message;
}

}  // namespace

grpc::Status StreamBlocks(const grpc::ServerContext& context, BlockSource& source,
                          grpc::ServerWriter<v1::GetResponse>* writer) {
  while (true) {
    absl::StatusOr<std::vector<FoundBlock>> found = source.Next(context);
    if (!found.ok()) return ToGrpc(found.status());
    if (found->empty()) return grpc::Status::OK;
    // A block is unpinned before its message is written, so a slow reader holds only what it has
    // not been sent.
    for (FoundBlock& block : *found) {
      ChargeBytes(context, static_cast<int64_t>(block.bytes.size()));
      if (!writer->Write(BlockMessage(std::move(block)))) {
        return {grpc::StatusCode::CANCELLED, "the client has stopped reading"};
      }
    }
  }
}

}  // namespace reprise::api
