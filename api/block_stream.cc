#include "api/block_stream.h"

#include <algorithm>
#include <utility>

#include "absl/status/statusor.h"
#include "api/limits.h"
#include "api/pin_blocks.h"
#include "api/status_codec.h"
#include "cachestore/base/hash.h"

namespace reprise::api {
namespace {

// The message of block `index`; its pin goes with `block`.
v1::GetResponse BlockMessage(int64_t index, cachestore::BlockRef block, const char* tier) {
  v1::GetResponse message;
  message.set_block_index(index);
  message.set_payload(block.bytes().data(), block.bytes().size());
  message.set_payload_xxh3(cachestore::HashBytes64(block.bytes()));
  message.set_tier(tier);
  return message;
}

// Sends the blocks, the first of which is number `first`. A block is unpinned before its message is
// written, so a slow reader holds only what it has not been sent. False: the client has stopped
// reading.
bool SendBlocks(cachestore::PinnedPrefix pinned, int64_t first,
                grpc::ServerWriter<v1::GetResponse>* writer) {
  for (size_t i = 0; i < pinned.blocks.size(); ++i) {
    const char* tier = pinned.from_gpu[i] ? "gpu" : pinned.from_disk[i] ? "disk" : "ram";
    const int64_t index = first + static_cast<int64_t>(i);
    if (!writer->Write(BlockMessage(index, std::move(pinned.blocks[i]), tier))) return false;
  }
  return true;
}

}  // namespace

grpc::Status StreamBlocks(const grpc::ServerContext& context, cachestore::TieredStore& store,
                          const cachestore::NamespaceHandle& ns,
                          const cachestore::BlockContent& prompt, int64_t first_block,
                          grpc::ServerWriter<v1::GetResponse>* writer) {
  const int64_t block_bytes = static_cast<int64_t>(ns.layout.BytesPerBlock());
  // Of a small RAM a quarter, so that one reader does not stand in the way of its own loads.
  const int64_t count =
      std::max<int64_t>(1, std::min(kMaxPinnedBytes / block_bytes, store.capacity_blocks(ns) / 4));
  for (int64_t first = first_block;;) {
    absl::StatusOr<PinnedRange> range =
        PinBlocks(context, store, ns, prompt, {.first = first, .count = count});
    if (!range.ok()) return ToGrpc(range.status());
    const int64_t pinned = static_cast<int64_t>(range->pinned.blocks.size());
    if (!SendBlocks(std::move(range->pinned), first, writer)) {
      return {grpc::StatusCode::CANCELLED, "the client has stopped reading"};
    }
    first += pinned;
    // There may be more behind a full range, or when RAM had no room for all of it.
    if (pinned == 0 || (pinned < count && pinned == range->matched_blocks)) return grpc::Status::OK;
  }
}

}  // namespace reprise::api
