#include "cachestore/store/disk_residency.h"

#include <algorithm>

#include "cachestore/base/check.h"

namespace reprise::cachestore {

using Node = PrefixIndex::Node;

bool DiskResidency::Storable(BlockId id) const {
  const Node& node = state_.index.node(id);
  return node.in_ram() && node.disk == DiskState::kNone && !node.doomed && !node.is_private;
}

StoreBatch DiskResidency::BeginStore(int64_t clean_bytes, size_t max_blocks) {
  StoreBatch batch;
  state_.ram_order->ProposeVictims([&](BlockId id) {
    if (batch.clean_bytes >= clean_bytes || batch.blocks.size() >= max_blocks) return false;
    const uint64_t payload_bytes = state_.payload_bytes(id);
    bool clean = state_.index.MayEvict(id) || state_.index.node(id).disk == DiskState::kStoring;
    if (Storable(id) && (batch.blocks.empty() || batch.payload_bytes == payload_bytes)) {
      batch.payload_bytes = payload_bytes;
      clean = AppendChain(id, max_blocks, batch);
    }
    if (clean) batch.clean_bytes += static_cast<int64_t>(SlotPool::SlotBytes(payload_bytes));
    return true;
  });
  // Not counting the batch itself before it has ended.
  if (batch.blocks.empty()) state_.clean_tail_bytes = batch.clean_bytes;
  state_.storing_blocks += static_cast<int64_t>(batch.blocks.size());
  return batch;
}

bool DiskResidency::AppendChain(BlockId id, size_t max_blocks, StoreBatch& batch) {
  std::vector<BlockId> missing;  // child first
  for (BlockId at = id;; at = state_.index.node(at).parent) {
    const Node& node = state_.index.node(at);
    if (node.is_root || node.readable_on_disk() || node.disk == DiskState::kStoring) break;
    // For example an ancestor whose bad disk copy must be erased first.
    if (!Storable(at)) return false;
    missing.push_back(at);
  }
  const size_t fitting = std::min(missing.size(), max_blocks - batch.blocks.size());
  for (size_t i = 0; i < fitting; ++i) {
    const BlockId next = missing[missing.size() - 1 - i];
    state_.index.BeginStore(next);
    batch.blocks.push_back(next);
  }
  return fitting == missing.size();
}

void DiskResidency::EndStore(const StoreBatch& batch) {
  state_.storing_blocks -= static_cast<int64_t>(batch.blocks.size());
  for (const BlockId id : batch.blocks) {
    state_.index.EndStore(id);
    if (!state_.index.node(id).condemned) {
      state_.disk_order->OnInsert(id, state_.index.node(id).parent);
    }
    ReleaseDoomed(id);
  }
  state_.clean_tail_bytes = batch.clean_bytes;
}

void DiskResidency::ShrinkStore(StoreBatch& batch, size_t num_blocks) {
  // From the back, children first: a parent can be gone only after them.
  while (batch.blocks.size() > num_blocks) {
    const BlockId id = batch.blocks.back();
    batch.blocks.pop_back();
    --state_.storing_blocks;
    state_.index.AbortStore(id);
    state_.condemned.erase(id);
    ReleaseDoomed(id);
    batch.clean_bytes = 0;
    state_.clean_tail_bytes = 0;
  }
}

void DiskResidency::ReleaseDoomed(BlockId id) {
  const Node& node = state_.index.node(id);
  if (!node.in_use || !node.doomed || node.pins > 0) return;
  ram_.Release(id);
  state_.index.RemoveIfGone(id);
}

std::vector<BlockId> DiskResidency::BeginErase(uint64_t payload_bytes, size_t count) {
  std::vector<BlockId> victims;
  const auto take_where = [&](auto preferred) {
    const size_t first = victims.size();
    if (first >= count) return;
    // A chain goes from its end: its leaf is proposed first and makes the next block a leaf.
    state_.disk_order->ProposeVictims([&](BlockId id) {
      if (preferred(id) && state_.index.MayEraseFromDisk(id)) {
        BeginEraseOne(id);
        victims.push_back(id);
      }
      return victims.size() < count;
    });
    for (size_t i = first; i < victims.size(); ++i) state_.disk_order->OnErase(victims[i]);
  };
  take_where([&](BlockId id) {
    return state_.payload_bytes(id) == payload_bytes && !state_.index.node(id).in_ram();
  });
  take_where([&](BlockId id) { return state_.payload_bytes(id) == payload_bytes; });
  take_where([](BlockId) { return true; });
  return victims;
}

std::vector<BlockId> DiskResidency::BeginEraseCondemned(size_t count) {
  std::vector<BlockId> erased;
  for (const BlockId condemned : state_.condemned) {
    // Upwards, because the last child on disk that goes lets its parent go.
    for (BlockId id = condemned; erased.size() < count && state_.index.MayEraseCondemned(id);
         id = state_.index.node(id).parent) {
      BeginEraseOne(id);
      erased.push_back(id);
    }
    if (erased.size() >= count) break;
  }
  return erased;
}

void DiskResidency::BeginEraseOne(BlockId id) {
  const bool was_in_store = state_.index.node(id).in_store();
  state_.index.BeginErase(id);
  ++state_.erasing_blocks;
  if (was_in_store && !state_.index.node(id).in_store()) ++state_.counters.dropped_blocks;
}

void DiskResidency::EndErase(const std::vector<BlockId>& blocks) {
  state_.erasing_blocks -= static_cast<int64_t>(blocks.size());
  for (const BlockId id : blocks) {
    state_.index.EndErase(id);
    state_.condemned.erase(id);
  }
  for (const BlockId id : blocks) state_.index.RemoveIfGone(id);
}

void DiskResidency::AbortErase(const std::vector<BlockId>& blocks) {
  state_.erasing_blocks -= static_cast<int64_t>(blocks.size());
  for (const BlockId id : blocks) {
    state_.index.AbortErase(id);
    state_.condemned.insert(id);
  }
}

void DiskResidency::BeginLoad(BlockId id) {
  state_.index.SetLoading(id);
  ++state_.loading_blocks;
}

std::optional<SlotIndex> DiskResidency::AllocateLoadSlot(BlockId id) {
  CHECK(state_.index.node(id).loading);
  const std::optional<SlotIndex> slot = ram_.AllocateSlot(state_.payload_bytes(id));
  if (slot.has_value()) state_.loading.insert(*slot);
  return slot;
}

bool DiskResidency::EndLoad(BlockId id, SlotIndex slot) {
  const Node& node = state_.index.node(id);
  // Sealed meanwhile, or condemned with an ancestor: the loaded copy is not needed.
  if (node.in_ram() || node.condemned) return AbortLoad(id, slot);
  state_.index.ClearLoading(id);
  --state_.loading_blocks;
  CHECK(state_.loading.erase(slot) == 1);
  ram_.Attach(id, slot);
  ram_.EnterOrder(id);
  ++state_.counters.promoted_blocks;
  return true;
}

bool DiskResidency::AbortLoad(BlockId id, SlotIndex slot) {
  state_.index.ClearLoading(id);
  --state_.loading_blocks;
  if (slot != kNoSlot) {
    CHECK(state_.loading.erase(slot) == 1);
    state_.pool.Free(slot);
  }
  const Node& node = state_.index.node(id);
  const bool readable = node.in_ram() && node.in_store();
  state_.index.RemoveIfGone(id);
  return readable;
}

void DiskResidency::Condemn(BlockId id) {
  struct Visit {
    BlockId id;
    bool reachable;
  };
  std::vector<Visit> visits = {{id, state_.index.node(state_.index.node(id).parent).in_store()}};
  for (size_t i = 0; i < visits.size(); ++i) {
    CondemnOne(visits[i].id, visits[i].reachable);
    const bool reachable = visits[i].reachable;
    for (BlockId child = state_.index.node(visits[i].id).first_child; child != kNoBlock;
         child = state_.index.node(child).next_sibling) {
      visits.push_back({child, reachable});
    }
  }
  // Children come after their parents in `visits`, so backwards they are removed first.
  for (size_t i = visits.size(); i-- > 0;) state_.index.RemoveIfGone(visits[i].id);
}

void DiskResidency::Invalidate(BlockId id) {
  bool reachable = false;
  CondemnOne(id, reachable);
  const Node& node = state_.index.node(id);
  if (node.pins > 0 || node.in_ram()) state_.index.MarkStale(id);
  state_.index.RemoveIfGone(id);
}

void DiskResidency::CondemnOne(BlockId id, bool& reachable) {
  const Node& node = state_.index.node(id);
  const bool was_in_store = node.in_store();
  if (node.disk != DiskState::kNone && !node.condemned) {
    LeaveDiskOrder(id);
    state_.index.Condemn(id);
    state_.condemned.insert(id);
  }
  reachable = reachable && node.in_ram() && !node.doomed;
  if (node.in_ram() && !reachable) {
    ram_.LeaveOrder(id);
    if (node.pins > 0 || node.disk == DiskState::kStoring) {
      state_.index.Doom(id);
    } else {
      ram_.Release(id);
    }
  }
  if (was_in_store && !node.in_store()) ++state_.counters.dropped_blocks;
}

void DiskResidency::LeaveDiskOrder(BlockId id) {
  if (state_.disk_order->Contains(id)) state_.disk_order->OnErase(id);
}

}  // namespace reprise::cachestore
