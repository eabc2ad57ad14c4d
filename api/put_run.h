// PutRun: the blocks of one Put call, from the wire into the store. A block's size and token count
// are verified before a slot is taken for it, its checksum while it is copied into the slot: only a
// block that is right is sealed, and a bad one leaves nothing behind. Putting a block that is there
// changes nothing.
//
// Blocks follow one another, or stand alone (independent keys). Of a row, owns a pin on the block
// stored last, which keeps every block before it in the store. Thread-compatible.
#pragma once

#include <grpcpp/server_context.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "api/payload_wire.h"
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
  // A run of blocks that stand alone. kInvalidArgument: `ns` is not of external keys.
  static absl::StatusOr<PutRun> BeginLone(cachestore::TieredStore* store,
                                          const cachestore::NamespaceHandle& ns);

  // Stores the next blocks, those of `message`, whose bytes are `payload` (the message's own field
  // is not looked at), or rejects them. BLOCKS until there is room, for all of them kMaxRoomWait
  // and until `deadline` at most. False: one was rejected, and with it all that would follow;
  // blocks that stand alone go on.
  bool Store(const v1::PutRequest& message, const Payload& payload, absl::Time deadline);
  // The same for a block that the client has written into a slot that it was granted; an error
  // instead of a slot is why the block is rejected.
  bool StoreGranted(const v1::SealBlock& block, absl::StatusOr<cachestore::WritableBlock> slot);

  // Ends the run: what became of its blocks, one by one, and how many of them are visible now.
  // `hints` are those of the request that they are of.
  v1::PutResponse Finish(const cachestore::RequestHints& hints);

 private:
  // A block of a message.
  struct SentBlock {
    absl::Span<const cachestore::TokenId> token_ids;
    absl::string_view external_key;
    Payload payload;
    uint64_t payload_xxh3;
  };

  PutRun(cachestore::TieredStore* store, const cachestore::NamespaceHandle& ns, bool lone)
      : store_(store), ns_(ns), lone_(lone), last_key_(ns.root) {}

  // kInvalidArgument: token count, external key or payload size is wrong, or the run is too long;
  // kDataLoss: the checksum does not match; kResourceExhausted: no room. No block is stored then.
  absl::StatusOr<v1::PutOutcome> TryStore(const SentBlock& block, absl::Time deadline);
  absl::StatusOr<v1::PutOutcome> TryStoreGranted(const v1::SealBlock& block,
                                                 absl::StatusOr<cachestore::WritableBlock> slot);
  // A slot with the payload in it.
  absl::StatusOr<cachestore::WritableBlock> Fill(const SentBlock& block, absl::Time deadline);
  // Publishes the block in `slot`, whose XXH3-64 is `hash`.
  absl::StatusOr<v1::PutOutcome> Seal(const cachestore::BlockContent& content,
                                      cachestore::WritableBlock slot, uint64_t hash);
  // Adds the result of a block; whether the run goes on.
  bool AddResult(const absl::StatusOr<v1::PutOutcome>& outcome);
  // Counts those as rejected that were sealed and are not visible.
  void RejectLost();

  // What names a block, if it is right.
  absl::StatusOr<PromptContent> ContentOf(absl::Span<const cachestore::TokenId> token_ids,
                                          absl::string_view external_key) const;
  // Whether all of the message's 1 + more_xxh3 blocks have what one of them needs.
  absl::Status CheckCounts(const v1::PutRequest& message, const Payload& payload) const;
  // Whether the block, which stands alone, is there.
  bool IsThere(const cachestore::BlockContent& content) const;
  // BLOCKS until there is room, `deadline` at most.
  absl::StatusOr<cachestore::WritableBlock> AllocateSlot(absl::Time deadline);

  cachestore::TieredStore* store_;
  cachestore::NamespaceHandle ns_;
  bool lone_;                    // blocks stand alone
  std::vector<uint32_t> words_;  // of the prefix and of every block stored behind it (BlockContent)
  int64_t prefix_blocks_ = 0;
  std::vector<v1::PutResult> results_;  // one a block
  cachestore::BlockKey last_key_;
  cachestore::BlockRef last_block_;  // pin on the block of last_key_; none before the first
};

}  // namespace reprise::api
