// BlockAccount: where sequences get their blocks from, and how many slots they hold together.
//
// Every block that an admitted sequence takes or gives back passes through here. A sealed block is
// one slot however many sequences pin it, so what counts are different keys; of a block that is
// private to its writer although another has its key (see TieredStore::Seal), one slot too few is
// counted. Engine-thread only.
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "cachestore/block/block_content.h"
#include "cachestore/block/block_key.h"
#include "cachestore/store/block_ref.h"
#include "cachestore/store/tiered_store.h"

namespace reprise::engine {

class BlockAccount {
 public:
  // `store` must outlive the account.
  explicit BlockAccount(cachestore::TieredStore* store) : store_(store) {}

  cachestore::TieredStore* store() const { return store_; }

  // As TieredStore::Allocate and Seal.
  absl::StatusOr<cachestore::WritableBlock> Allocate(const cachestore::NamespaceHandle& ns);
  cachestore::BlockRef Seal(const cachestore::NamespaceHandle& ns, cachestore::WritableBlock block,
                            const cachestore::BlockKey& parent,
                            absl::Span<const cachestore::TokenId> tokens);
  // A sequence has taken over this pin from a ticket.
  void Add(const cachestore::BlockRef& block);
  // Unpins the block; frees the slot.
  void GiveBack(cachestore::BlockRef block);
  void GiveBack(cachestore::WritableBlock block);

  // Slots of the tier that is computed on that sequences hold.
  int64_t held_blocks() const { return static_cast<int64_t>(pins_.size()) + writable_blocks_; }
  // How many sequences pin the block. When one does, pinning it takes no slot.
  int64_t CountPins(const cachestore::BlockKey& key) const;

 private:
  cachestore::TieredStore* const store_;
  absl::flat_hash_map<cachestore::BlockKey, int64_t> pins_;  // sequences that pin it, > 0
  int64_t writable_blocks_ = 0;
};

}  // namespace reprise::engine
