// BlockLister: the pages and walks behind TieredStore::List and Walk. It looks at a bounded number
// of index nodes under the lock at a time, however many there are. Thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/types/span.h"
#include "cachestore/store/block_list.h"
#include "cachestore/store/store_core.h"

namespace reprise::cachestore {

// Which blocks are listed. Plain data.
struct ListFilter {
  std::optional<uint32_t> namespace_id;  // else those of all
  std::optional<std::string> tenant;     // else those of all
  bool with_words = false;
};

class BlockLister {
 public:
  // `core` outlives the lister.
  explicit BlockLister(StoreCore& core) : core_(core) {}

  // The blocks from place `cursor` on: `max_blocks` (positive) of them, and a few more where keys
  // lie close together, unless there are no more.
  ListPage List(const ListFilter& filter, uint64_t cursor, size_t max_blocks) const
      ABSL_LOCKS_EXCLUDED(core_.mu);
  // The block with this key; nullopt when it is in no tier.
  std::optional<ListedBlock> Find(const BlockKey& key) const ABSL_LOCKS_EXCLUDED(core_.mu);
  // The last block of the chain of `keys` (root first, their contents being `words`) and all below
  // it; the whole namespace when there are no keys. Nothing when the chain is not in the store.
  std::unique_ptr<BlockWalk> Walk(uint32_t namespace_id, absl::Span<const BlockKey> keys,
                                  absl::Span<const uint32_t> words) const
      ABSL_LOCKS_EXCLUDED(core_.mu);

 private:
  StoreCore& core_;
};

}  // namespace reprise::cachestore
