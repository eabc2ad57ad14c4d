#include "cachestore/store/ram_residency.h"

#include <algorithm>
#include <vector>

#include "cachestore/base/check.h"

namespace reprise::cachestore {
namespace {

// A search for a victim looks at no more blocks than this, so that it stays short under the lock.
// The demoter keeps the oldest blocks clean, so the first one usually fits.
constexpr int kMaxScannedBlocks = 1024;

}  // namespace

std::optional<SlotIndex> RamResidency::AllocateSlot(uint64_t block_bytes) {
  if (!MakeRoom(block_bytes)) return std::nullopt;
  return state_.pool.Allocate(block_bytes);
}

bool RamResidency::MakeRoom(uint64_t block_bytes) {
  const uint64_t slot_bytes = SlotPool::SlotBytes(block_bytes);
  while (!state_.pool.CanAllocate(block_bytes)) {
    if (!TakeOneOfSize(slot_bytes) && !DrainOneSlab(slot_bytes)) return false;
  }
  return true;
}

bool RamResidency::MayTake(BlockId id, RamVictims victims) const {
  return state_.index.MayEvict(id) ||
         (victims == RamVictims::kCleanOrLast && state_.index.MayDrop(id));
}

void RamResidency::Take(BlockId id) {
  LeaveOrder(id);
  if (state_.index.MayEvict(id)) {
    const int64_t slot_bytes = static_cast<int64_t>(SlotPool::SlotBytes(state_.payload_bytes(id)));
    state_.clean_tail_bytes = std::max<int64_t>(0, state_.clean_tail_bytes - slot_bytes);
    ++state_.counters.demoted_blocks;
    Release(id);
    return;
  }
  CHECK(state_.index.MayDrop(id));
  // It was among the oldest and not clean: the demoter must look again.
  state_.clean_tail_bytes = 0;
  ++state_.counters.dropped_blocks;
  Release(id);
  state_.index.RemoveIfGone(id);
}

bool RamResidency::TakeOneOfSize(uint64_t slot_bytes) {
  BlockId victim = kNoBlock;
  int scanned = 0;
  state_.ram_order->ProposeVictims([&](BlockId id) {
    if (SlotPool::SlotBytes(state_.payload_bytes(id)) == slot_bytes) {
      if (MayTake(id, state_.victims)) {
        victim = id;
        return false;
      }
      // The oldest blocks are not clean any more, whatever the demoter counted.
      state_.clean_tail_bytes = 0;
    }
    return ++scanned < kMaxScannedBlocks;
  });
  if (victim == kNoBlock) return false;
  Take(victim);
  return true;
}

bool RamResidency::DrainOneSlab(uint64_t slot_bytes) {
  std::vector<BlockId> heads;
  int scanned = 0;
  state_.ram_order->ProposeVictims([&](BlockId id) {
    if (SlotPool::SlotBytes(state_.payload_bytes(id)) != slot_bytes) heads.push_back(id);
    return ++scanned < kMaxScannedBlocks;
  });
  for (const BlockId head : heads) {
    const PrefixIndex::Node& node = state_.index.node(head);
    // Draining for an earlier head may have taken this one.
    if (!node.in_use || !node.in_ram()) continue;
    const std::vector<SlotIndex> slots = state_.pool.UsedSlotsOfSlab(node.ram_slot);
    if (!std::all_of(slots.begin(), slots.end(), [&](SlotIndex slot) { return MayDrain(slot); })) {
      continue;
    }
    // Children go before their parents, so a chain in one slab takes several passes.
    size_t taken = 0;
    for (bool progress = true; progress;) {
      progress = false;
      for (const SlotIndex slot : slots) {
        const auto owner = state_.ram_owner.find(slot);
        if (owner == state_.ram_owner.end() || !MayTake(owner->second, state_.victims)) continue;
        Take(owner->second);
        ++taken;
        progress = true;
      }
    }
    if (taken == slots.size()) return true;
  }
  return false;
}

bool RamResidency::MayDrain(SlotIndex slot) const {
  const auto owner = state_.ram_owner.find(slot);
  if (owner == state_.ram_owner.end()) return false;
  const PrefixIndex::Node& node = state_.index.node(owner->second);
  if (node.pins > 0 || node.doomed || node.is_private) return false;
  return node.readable_on_disk() || (state_.victims == RamVictims::kCleanOrLast &&
                                     node.disk == DiskState::kNone && !node.loading);
}

BlockId RamResidency::Seal(const SealRequest& request) {
  PrefixIndex& index = state_.index;
  const bool is_fenced =
      state_.writing.at(request.slot) < state_.namespaces[request.namespace_id].fence;
  state_.writing.erase(request.slot);
  ++state_.counters.sealed_blocks;
  const BlockId root = index.root_node(request.namespace_id);
  const BlockId parent = request.parent == index.node(root).key ? root : index.Find(request.parent);
  BlockId id = kNoBlock;
  if (!is_fenced && MayAttachTo(parent, request)) {
    id = index.Find(request.key);
    if (id == kNoBlock) {
      id = index.Insert(parent, request.key, request.words);
    } else if (index.node(id).stale || !index.Verify(id, parent, request.words)) {
      id = kNoBlock;  // another block has this key: it stays, ours is private
    }
  }
  if (id == kNoBlock) id = index.InsertPrivate(request.namespace_id, request.key);
  if (index.node(id).in_ram()) {
    ++state_.counters.duplicate_seals;
    index.LiftDoom(id);
    state_.pool.Free(request.slot);
  } else {
    Attach(id, request.slot);
  }
  Pin(id);
  return id;
}

bool RamResidency::MayAttachTo(BlockId parent, const SealRequest& request) const {
  if (parent == kNoBlock) return false;
  const PrefixIndex& index = state_.index;
  const PrefixIndex::Node& node = index.node(parent);
  // A block with the key of the root would pass for it as a parent.
  if (request.key == index.node(index.root_node(request.namespace_id)).key) return false;
  // While a private block has the parent's key, the key alone does not tell which of the two the
  // caller means, and a child under the wrong one would be served to the wrong prefix.
  return node.in_store() && node.namespace_id == request.namespace_id &&
         !index.HasPrivate(request.parent);
}

void RamResidency::Attach(BlockId id, SlotIndex slot) {
  state_.index.AttachRam(id, slot);
  CHECK(state_.ram_owner.emplace(slot, id).second);
}

void RamResidency::Release(BlockId id) {
  const SlotIndex slot = state_.index.DetachRam(id);
  CHECK(state_.ram_owner.erase(slot) == 1);
  state_.pool.Free(slot);
}

void RamResidency::EnterOrder(BlockId id) {
  const PrefixIndex::Node& node = state_.index.node(id);
  if (!node.in_ram() || node.pins > 0 || node.doomed || node.is_private) return;
  state_.ram_order->OnInsert(id, node.parent);
}

void RamResidency::LeaveOrder(BlockId id) {
  if (state_.ram_order->Contains(id)) state_.ram_order->OnErase(id);
}

void RamResidency::Pin(BlockId id) {
  LeaveOrder(id);
  state_.index.Pin(id);
}

void RamResidency::Unpin(BlockId id) {
  if (state_.index.Unpin(id) > 0) return;
  const PrefixIndex::Node& node = state_.index.node(id);
  if (node.in_ram() && !node.doomed && !node.is_private) {
    EnterOrder(id);
    return;
  }
  // A block being stored is still read; the end of the store lets it go.
  if (node.in_ram() && node.disk != DiskState::kStoring) Release(id);
  state_.index.RemoveIfGone(id);
}

int64_t RamResidency::TakeVictims(int64_t count, RamVictims victims) {
  // Dropping a leaf makes its parent a leaf, so last copies are looked for one by one; their chains
  // lie together in the order, children first.
  const int64_t per_look = victims == RamVictims::kClean ? count : 1;
  int64_t taken = 0;
  while (taken < count) {
    std::vector<BlockId> chosen;
    state_.ram_order->ProposeVictims([&](BlockId id) {
      if (MayTake(id, victims)) chosen.push_back(id);
      return static_cast<int64_t>(chosen.size()) < std::min(per_look, count - taken);
    });
    if (chosen.empty()) break;
    for (const BlockId id : chosen) Take(id);
    taken += static_cast<int64_t>(chosen.size());
  }
  return taken;
}

}  // namespace reprise::cachestore
