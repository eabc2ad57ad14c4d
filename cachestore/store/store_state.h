// StoreState: everything the store knows about where blocks are. Plain data; StoreCore::mu guards
// it, and RamResidency, GpuResidency and DiskResidency are those that change it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "cachestore/index/prefix_index.h"
#include "cachestore/policy/eviction_policy.h"
#include "cachestore/pool/slot_pool.h"
#include "cachestore/store/gpu_state.h"
#include "cachestore/store/residency_book.h"
#include "cachestore/store/share.h"
#include "cachestore/store/store_stats.h"

namespace reprise::cachestore {

// What the store knows of a namespace; its number is PrefixIndex's.
struct NamespaceRecord {
  uint64_t payload_bytes = 0;
  std::string identity;  // canonical encoding
  std::string tenant;
  uint64_t fence = 0;       // blocks allocated in an earlier epoch stay private
  bool bound = false;       // known on disk, which comes before its first block there
  int64_t disk_bytes = 0;   // of the disk's budget that one copy takes
  uint32_t size_class = 0;  // this and the next two are set by StoreState
  uint32_t share = kCommonShare;
  uint32_t line = 0;  // of StoreState::lines
};

// Tells the policy which blocks there are.
class PolicyTeller : public NodeListener {
 public:
  explicit PolicyTeller(EvictionPolicy& policy) : policy_(policy) {}
  void OnInsert(BlockId id, BlockId parent, const BlockKey& key) override {
    policy_.OnInsert(id, parent, key);
  }
  void OnErase(BlockId id, const BlockKey& key) override { policy_.OnErase(id, key); }

 private:
  EvictionPolicy& policy_;
};

// What a RAM slot holds.
struct RamCopy {
  BlockId owner = kNoBlock;
  uint64_t payload_hash = 0;  // XXH3-64 of the bytes when they came in; 0: not taken
};

struct StoreState {
  // `gpu_memory` is empty where there is no GPU tier.
  StoreState(absl::Span<std::byte> arena, absl::Span<std::byte> gpu_memory,
             std::unique_ptr<EvictionPolicy> policy, bool has_disk_tier)
      : has_disk(has_disk_tier),
        order(std::move(policy)),
        pool(arena),
        gpu(gpu_memory),
        victims(has_disk_tier ? Victims::kClean : Victims::kCleanOrLast) {}

  // Call beside PrefixIndex::AddNamespace.
  void AddNamespace(NamespaceRecord record) {
    const auto share = share_of_tenant.find(record.tenant);
    record.size_class = SizeClassOf(record.payload_bytes);
    namespaces.push_back(std::move(record));
    book.AddNamespace(namespaces.back().disk_bytes,
                      static_cast<int64_t>(class_slot_bytes[namespaces.back().size_class]));
    JoinShare(static_cast<uint32_t>(namespaces.size() - 1),
              share == share_of_tenant.end() ? kCommonShare : share->second);
  }
  // From here on the namespace is of this share. Its blocks move there one by one, when they are
  // placed among the candidates again.
  void JoinShare(uint32_t namespace_id, uint32_t share);
  // The share of `tenant`, a new one without limits if it had none.
  uint32_t ShareFor(const std::string& tenant);

  void NeedRelief(uint32_t share) { shares[share].needs_relief = shares_need_relief = true; }

  // What the namespaces of a share, by its number, take of RAM, and of the disk.
  int64_t RamBytesOf(uint32_t share) const { return pool.used_bytes_of_group(share); }
  int64_t DiskBytesOf(uint32_t share) const { return book.disk_bytes_of_share(share); }
  // Whether one slot more for the namespace goes beyond the quota of its share; whether any does.
  bool LacksQuota(uint32_t namespace_id) const;
  bool FitsQuota(uint32_t namespace_id) const;
  // RAM of a share with a quota that is free or can be taken at once in the order of eviction.
  int64_t ReadyBytesOf(uint32_t share) const;
  const NamespaceRecord& namespace_of(BlockId id) const {
    return namespaces[index.node(id).namespace_id];
  }
  Share& share_of(BlockId id) { return shares[namespace_of(id).share]; }
  uint64_t payload_bytes(BlockId id) const { return namespace_of(id).payload_bytes; }
  int64_t slot_bytes(BlockId id) const {
    return static_cast<int64_t>(class_slot_bytes[namespace_of(id).size_class]);
  }

  // Blocks whose slots are of one size are of one class. There are few classes.
  uint32_t SizeClassOf(uint64_t block_bytes) {
    const uint64_t bytes = SlotPool::SlotBytes(block_bytes);
    for (uint32_t i = 0; i < class_slot_bytes.size(); ++i) {
      if (class_slot_bytes[i] == bytes) return i;
    }
    class_slot_bytes.push_back(bytes);
    return static_cast<uint32_t>(class_slot_bytes.size() - 1);
  }

  // Which blocks may be taken for their slots in RAM.
  Victims ram_victims() const {
    return gpu.takes_last_of_ram && gpu.looks_for_ram ? Victims::kCleanOrLast : victims;
  }

  // REQUIRES: `id` is in RAM.
  const RamCopy& ram_copy(BlockId id) const { return ram_copies.at(index.node(id).ram_slot); }

  const bool has_disk;
  ResidencyBook book;
  const std::unique_ptr<EvictionPolicy> order;  // its sets: candidates.h
  PolicyTeller teller{*order};
  PrefixIndex index{&book, &teller};
  SlotPool pool;
  GpuState gpu;
  std::vector<NamespaceRecord> namespaces;  // by namespace id
  std::vector<uint64_t> class_slot_bytes;   // by size class
  std::vector<Share> shares{1};             // by number
  absl::flat_hash_map<std::string, uint32_t> share_of_tenant;
  std::vector<CandidateLine> lines;
  bool shares_need_relief = false;                     // some share does: the demoter shall look
  absl::flat_hash_map<SlotIndex, RamCopy> ram_copies;  // by slot: the blocks readable in RAM
  absl::flat_hash_map<SlotIndex, uint64_t> writing;    // slot of a WritableBlock -> its epoch
  absl::flat_hash_set<SlotIndex> loading;              // slots that loads write into
  absl::flat_hash_set<SlotIndex> fetching;             // slots that copies from the GPU write into
  absl::flat_hash_set<SlotIndex> quarantined;  // slots that a device that failed may write into
  absl::flat_hash_set<BlockId> condemned;      // disk copies to erase
  // Blocks below a lost one that have still to be condemned. Each stands for all that is below it
  // and for its next siblings with what is below them.
  std::vector<BlockId> orphans;
  uint64_t epoch = 0;          // grows with every invalidation
  int64_t loading_blocks = 0;  // being loaded
  int64_t storing_blocks = 0;
  int64_t erasing_blocks = 0;
  int64_t verifying_blocks = 0;  // whose disk copies are being read by Verify
  Victims victims;               // in RAM, as far as the disk goes: ram_victims()
  int64_t clean_bytes = 0;       // of the blocks in the sets of CandidateKind::kClean
  // Bytes of the clean blocks that go before every dirty one: stored since the last one that went
  // out of turn, less those taken. An estimate that only decides when the demoter looks again.
  int64_t clean_tail_bytes = 0;
  // Block bytes that an allocation failed for; 0 when none waits.
  uint64_t wanted_bytes = 0;
  StoreStats counters;  // the counters; gauges are computed when asked
};

}  // namespace reprise::cachestore
