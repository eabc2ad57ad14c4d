// PutRun: the blocks of one Put call, from the wire into the store. A block's size and token count
// are verified before a slot is taken for it, its checksum while it is copied into the slot: only a
// block that is right is sealed, and a bad one leaves nothing behind. Owns a pin on the block
// stored last, which keeps every block before it in the store. Thread-compatible.
#pragma once

#include <grpcpp/server_context.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "api/prompt_content.h"
#include "cachestore/store/tiered_store.h"
#include "reprise/v1/cache.pb.h"

namespace reprise::api {

class PutRun {
 public:
  // A run of blocks of `ns` behind `prefix`, which may be empty. `store` must outlive the run.
  // BLOCKS while the prefix's last block is brought into RAM: a block is sealed only behind a
  // pinned parent. kInvalidArgument: `prefix` is not whole blocks, or too long;
  // kFailedPrecondition: `prefix` is not in the store, with the number of blocks that are;
  // kResourceExhausted: no room in RAM for its last block; kCancelled: the call was cancelled
  // meanwhile.
  static absl::StatusOr<PutRun> Begin(const grpc::ServerContext& context,
                                      cachestore::TieredStore* store,
                                      const cachestore::NamespaceHandle& ns,
                                      const cachestore::BlockContent& prefix);

  // Stores the next block. BLOCKS until there is room, `deadline` at most.
  // kInvalidArgument: token count, external key or payload size is wrong, or the run is too long;
  // kDataLoss: the checksum does not match; kResourceExhausted: no room. No block is stored then.
  absl::Status Store(const v1::PutRequest& message, absl::Time deadline);

  // Ends the run: how many of its blocks are visible now. `rejected` is the error that ended it, or
  // OK.
  v1::PutResponse Finish(const absl::Status& rejected);

 private:
  PutRun(cachestore::TieredStore* store, const cachestore::NamespaceHandle& ns)
      : store_(store), ns_(ns), last_key_(ns.root) {}

  // What names the message's block, if all of the message but its checksum is right.
  absl::StatusOr<PromptContent> Verify(const v1::PutRequest& message) const;
  // BLOCKS until there is room, `deadline` at most.
  absl::StatusOr<cachestore::WritableBlock> AllocateSlot(absl::Time deadline);

  cachestore::TieredStore* store_;
  cachestore::NamespaceHandle ns_;
  std::vector<uint32_t> words_;  // of the prefix and of every block stored (BlockContent)
  int64_t prefix_blocks_ = 0;
  int64_t sealed_blocks_ = 0;
  cachestore::BlockKey last_key_;
  cachestore::BlockRef last_block_;  // pin on the block of last_key_; none before the first
};

}  // namespace reprise::api
