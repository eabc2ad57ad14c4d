// StoreState: everything the store knows about where blocks are. Plain data; StoreCore::mu guards
// it, and RamResidency and DiskResidency are the two that change it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "cachestore/index/prefix_index.h"
#include "cachestore/policy/eviction_policy.h"
#include "cachestore/pool/slot_pool.h"
#include "cachestore/store/store_stats.h"

namespace reprise::cachestore {

// What the store knows of a namespace; its number is PrefixIndex's.
struct NamespaceRecord {
  uint64_t payload_bytes = 0;
  std::string identity;  // canonical encoding
  std::string tenant;
  uint64_t fence = 0;  // blocks allocated in an earlier epoch stay private
};

// Which RAM blocks may be taken for their slots.
enum class RamVictims {
  kClean,        // those with a copy on disk
  kCleanOrLast,  // also last copies: there is no disk tier, or it refuses writes
};

struct StoreState {
  StoreState(absl::Span<std::byte> arena, std::unique_ptr<EvictionPolicy> ram_policy,
             std::unique_ptr<EvictionPolicy> disk_policy, RamVictims ram_victims)
      : pool(arena),
        ram_order(std::move(ram_policy)),
        disk_order(std::move(disk_policy)),
        victims(ram_victims) {}

  uint64_t payload_bytes(BlockId id) const {
    return namespaces[index.node(id).namespace_id].payload_bytes;
  }

  PrefixIndex index;
  SlotPool pool;
  std::vector<NamespaceRecord> namespaces;     // by namespace id
  std::unique_ptr<EvictionPolicy> ram_order;   // blocks in RAM that are matchable and unpinned
  std::unique_ptr<EvictionPolicy> disk_order;  // blocks readable on disk
  absl::flat_hash_map<SlotIndex, BlockId> ram_owner;  // slot -> the block readable in it
  absl::flat_hash_map<SlotIndex, uint64_t> writing;   // slot of a WritableBlock -> its epoch
  absl::flat_hash_set<SlotIndex> loading;             // slots that loads write into
  absl::flat_hash_set<BlockId> condemned;             // disk copies to erase
  uint64_t epoch = 0;                                 // grows with every invalidation
  int64_t loading_blocks = 0;                         // queued for loading, or being loaded
  int64_t storing_blocks = 0;
  int64_t erasing_blocks = 0;
  RamVictims victims;
  // Bytes of clean blocks next to be evicted, as the demoter last counted them, less those taken
  // since. An estimate that only decides when the demoter looks again.
  int64_t clean_tail_bytes = 0;
  // Block bytes that an allocation failed for; 0 when none waits.
  uint64_t wanted_bytes = 0;
  StoreStats counters;  // the counters; gauges are computed when asked
};

}  // namespace reprise::cachestore
