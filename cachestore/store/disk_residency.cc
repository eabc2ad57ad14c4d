#include "cachestore/store/disk_residency.h"

#include <algorithm>

#include "cachestore/base/check.h"

namespace reprise::cachestore {

namespace {

using Node = PrefixIndex::Node;

// Blocks that one call looks at, besides those that it takes or may take.
constexpr size_t kLook = 64;

// Of what is below a lost block, condemned at once.
constexpr size_t kCondemnedAtOnce = 256;

}  // namespace

bool DiskResidency::Storable(BlockId id) const {
  const Node& node = state_.index.node(id);
  return node.in_use && node.in_ram() && node.disk == DiskState::kNone && !node.doomed &&
         !node.is_private;
}

bool DiskResidency::ParentIsReady(BlockId id) const {
  const Node& parent = state_.index.node(state_.index.node(id).parent);
  return parent.is_root || parent.readable_on_disk() ||
         (parent.disk == DiskState::kStoring && !parent.condemned);
}

bool DiskResidency::IsFull(const StoreBatch& batch, const StoreGoal& goal) const {
  // No more than a quarter of a quota, so that what comes next can take the place of older blocks.
  if (!batch.blocks.empty() && state_.shares[batch.share].quota.disk_bytes > 0 &&
      static_cast<int64_t>(4 * batch.blocks.size()) *
              state_.namespace_of(batch.blocks[0]).disk_bytes >=
          state_.shares[batch.share].quota.disk_bytes) {
    return true;
  }
  return batch.blocks.size() >= goal.max_blocks ||
         (!batch.blocks.empty() &&
          (batch.blocks.size() + 1) * batch.payload_bytes > goal.max_bytes);
}

std::vector<BlockId> DiskResidency::NextToStore(const StoreGoal& goal) {
  if (goal.wanted_bytes > 0) {
    std::vector<BlockId> blocks = ram_.BlocksToClean(goal.wanted_bytes);
    if (!blocks.empty()) return blocks;
  }
  const Candidates::Kinds dirty = {CandidateKind::kLast, CandidateKind::kParent};
  const bool of_all = goal.share == kCommonShare;
  const BlockId first =
      of_all ? candidates_.BestOfAll(dirty) : candidates_.BestOfShare(goal.share, dirty);
  if (first == kNoBlock) {
    // Nothing is dirty, so that everything clean goes before it.
    Share& share = state_.shares[goal.share];
    if (of_all) {
      state_.clean_tail_bytes = state_.clean_bytes;
    } else {
      share.clean_tail_bytes = share.clean_bytes;
    }
    return {};
  }
  const size_t count = std::max(kLook, goal.max_blocks);
  if (!of_all) return candidates_.BestFew(first, dirty, count, goal.moment);
  const BlockId unused = candidates_.BestUnused(dirty, goal.moment);
  if (unused == kNoBlock) return {};
  return candidates_.BestFewOfSize(unused, dirty, count, goal.moment);
}

bool DiskResidency::IsAdmitted(BlockId id) const {
  const uint32_t size_class = state_.namespace_of(id).size_class;
  const BlockId victim = candidates_.Best(size_class, {CandidateKind::kErasable});
  return admission_->Admit(
      {.reused = state_.index.node(id).reused,
       .disk_is_full = size_class < class_is_full_.size() && class_is_full_[size_class],
       .goes_before_victim = victim != kNoBlock && state_.order->GoesBefore(id, victim),
       .reuse_probability = [&] { return state_.order->ReuseProbability(id); }});
}

StoreBatch DiskResidency::BeginStore(const StoreGoal& goal) {
  StoreBatch batch;
  if (!path_.empty()) TakePath(goal, batch);
  for (const BlockId id : NextToStore(goal)) {
    if (IsFull(batch, goal) || !path_.empty()) break;
    if (!batch.blocks.empty() && state_.namespace_of(id).share != batch.share) continue;
    // A rejected one may lie among those that are in the way of a larger block.
    if (!Storable(id) || state_.index.node(id).rejected ||
        state_.order->UsedSince(id, goal.moment)) {
      continue;
    }
    if (!IsAdmitted(id)) {
      Reject(id);
      batch.look_again = true;
      continue;
    }
    path_ = {id};
    TakePath(goal, batch);
  }
  batch.look_again = batch.blocks.empty() && (batch.look_again || !path_.empty());
  state_.storing_blocks += static_cast<int64_t>(batch.blocks.size());
  return batch;
}

bool DiskResidency::Climb() {
  for (size_t looked = 0; looked < kLook; ++looked) {
    const BlockId top = path_.back();
    // For example an ancestor whose bad disk copy must be erased first.
    if (!Storable(top)) {
      WantBelowGpu(top);
      path_.clear();
      return false;
    }
    if (ParentIsReady(top)) return true;
    path_.push_back(state_.index.node(top).parent);
  }
  return false;
}

void DiskResidency::WantBelowGpu(BlockId id) {
  const Node& node = state_.index.node(id);
  std::vector<BlockId>& wanted = state_.gpu.wanted_below;
  if (node.in_gpu && !node.in_ram() && !node.doomed && wanted.size() < kLook) wanted.push_back(id);
}

void DiskResidency::TakePath(const StoreGoal& goal, StoreBatch& batch) {
  if (!Climb()) return;
  while (!path_.empty() && !IsFull(batch, goal)) {
    const BlockId id = path_.back();
    const uint64_t payload_bytes = Storable(id) ? state_.payload_bytes(id) : 0;
    if (!Storable(id) || !ParentIsReady(id) ||
        (!batch.blocks.empty() &&
         (payload_bytes != batch.payload_bytes || state_.namespace_of(id).share != batch.share))) {
      path_.clear();
      return;
    }
    path_.pop_back();
    state_.index.BeginStore(id);
    candidates_.UpdateWithParent(id);
    batch.payload_bytes = payload_bytes;
    batch.share = state_.namespace_of(id).share;
    batch.blocks.push_back(id);
  }
}

void DiskResidency::EndStore(const StoreBatch& batch) {
  state_.storing_blocks -= static_cast<int64_t>(batch.blocks.size());
  for (const BlockId id : batch.blocks) {
    state_.index.EndStore(id);
    state_.index.SetPayloadHash(id, state_.ram_copy(id).payload_hash);
    candidates_.UpdateWithParent(id);
    if (state_.index.MayEvict(id)) {
      state_.clean_tail_bytes += state_.slot_bytes(id);
      state_.share_of(id).clean_tail_bytes += state_.slot_bytes(id);
    }
    ReleaseDoomed(id);
  }
  const Candidates::Kinds dirty = {CandidateKind::kLast, CandidateKind::kParent};
  Share& share = state_.shares[batch.share];
  share.clean_tail_bytes = candidates_.BestOfShare(batch.share, dirty) == kNoBlock
                               ? share.clean_bytes
                               : std::min(share.clean_tail_bytes, share.clean_bytes);
  const bool none_dirty = candidates_.BestOfAll(dirty) == kNoBlock;
  state_.clean_tail_bytes =
      none_dirty ? state_.clean_bytes : std::min(state_.clean_tail_bytes, state_.clean_bytes);
}

void DiskResidency::ShrinkStore(StoreBatch& batch, size_t num_blocks) {
  // From the back, children first: a parent can be gone only after them.
  while (batch.blocks.size() > num_blocks) {
    const BlockId id = batch.blocks.back();
    batch.blocks.pop_back();
    --state_.storing_blocks;
    state_.index.AbortStore(id);
    state_.condemned.erase(id);
    candidates_.UpdateWithParent(id);
    ReleaseDoomed(id);
  }
}

void DiskResidency::RejectStore(StoreBatch& batch, size_t num_blocks) {
  std::vector<BlockId> rejected(batch.blocks.begin() + static_cast<int64_t>(num_blocks),
                                batch.blocks.end());
  // The chain that the batch is the begin of: from its end, because that is what the next batch
  // would begin with.
  if (!path_.empty() && !rejected.empty() && Storable(path_.back()) &&
      state_.index.node(path_.back()).parent == rejected.back()) {
    rejected.insert(rejected.end(), path_.begin(),
                    path_.begin() + static_cast<int64_t>(std::min(path_.size(), kLook)));
    path_.clear();
  }
  ShrinkStore(batch, num_blocks);
  for (const BlockId id : rejected) {
    if (Storable(id) && state_.index.node(id).pins == 0) Reject(id);
  }
}

void DiskResidency::Reject(BlockId id) {
  state_.index.SetRejected(id, true);
  ++state_.counters.rejected_blocks;
  candidates_.Update(id);
}

void DiskResidency::ReleaseDoomed(BlockId id) {
  const Node& node = state_.index.node(id);
  if (!node.in_use || !node.doomed || node.pins > 0) return;
  ram_.Release(id);
  state_.index.RemoveIfGone(id);
}

std::vector<BlockId> DiskResidency::BeginErase(uint64_t payload_bytes, size_t count) {
  const uint32_t size_class = state_.SizeClassOf(payload_bytes);
  std::vector<BlockId> victims;
  while (victims.size() < count) {
    // A chain goes from its end: its leaf goes first and makes the next block a leaf.
    const BlockId id = candidates_.Best(size_class, {CandidateKind::kErasable});
    if (id == kNoBlock) break;
    BeginEraseOne(id);
    victims.push_back(id);
  }
  return victims;
}

std::vector<BlockId> DiskResidency::BeginEraseOfShare(uint32_t share, int64_t min_bytes,
                                                      size_t count) {
  std::vector<BlockId> victims;
  while (min_bytes > 0 && victims.size() < count) {
    const BlockId id = candidates_.BestOfShare(share, {CandidateKind::kErasable});
    if (id == kNoBlock) break;
    min_bytes -= state_.namespace_of(id).disk_bytes;
    BeginEraseOne(id);
    victims.push_back(id);
  }
  return victims;
}

int64_t DiskResidency::BytesBeyondQuota(uint32_t share) const {
  const Share& its = state_.shares[share];
  return its.quota.disk_bytes == 0 ? 0 : state_.DiskBytesOf(share) - its.quota.disk_bytes;
}

BlockId DiskResidency::OlderOfOtherSize(uint64_t payload_bytes) const {
  const uint32_t size_class = state_.SizeClassOf(payload_bytes);
  const BlockId same = candidates_.Best(size_class, {CandidateKind::kErasable});
  const BlockId other = candidates_.BestOfOthers(size_class, {CandidateKind::kErasable});
  if (other == kNoBlock) return kNoBlock;
  return same == kNoBlock || state_.order->GoesBefore(other, same) ? other : kNoBlock;
}

bool DiskResidency::AddTogether(absl::Span<const BlockKey> keys, ErasedTogether& together) const {
  for (const BlockKey& key : keys) {
    const BlockId id = state_.index.Find(key);
    if (id == kNoBlock || !state_.index.node(id).readable_on_disk()) return false;
    if (together.left.insert(id).second) together.blocks.push_back(id);
  }
  return true;
}

bool DiskResidency::LookTogether(size_t count, uint64_t payload_bytes, size_t max_blocks,
                                 ErasedTogether& together) const {
  const BlockId same =
      candidates_.Best(state_.SizeClassOf(payload_bytes), {CandidateKind::kErasable});
  for (; count > 0 && together.looked_at < together.blocks.size(); --count) {
    const BlockId id = together.blocks[together.looked_at++];
    const Node& node = state_.index.node(id);
    if (!node.readable_on_disk() || node.loading || node.verifying || node.pins > 0) return false;
    together.going_before += same == kNoBlock || state_.order->GoesBefore(id, same);
    for (BlockId child = node.first_child; child != kNoBlock;
         child = state_.index.node(child).next_sibling) {
      // One that is only in RAM may be another block by the next step.
      if (!state_.index.node(child).readable_on_disk()) return false;
      if (together.left.insert(child).second) together.blocks.push_back(child);
      if (together.blocks.size() > max_blocks) return false;
    }
  }
  return true;
}

std::vector<BlockId> DiskResidency::BeginEraseTogether(size_t count, ErasedTogether& together) {
  std::vector<BlockId> erased;
  for (; count > 0 && !together.done(); --count) {
    if (together.at == kNoBlock) together.at = together.blocks[together.next++];
    const BlockId id = together.at;
    together.at = kNoBlock;
    // Some may be in use again.
    if (!together.left.contains(id) || state_.index.node(id).pins > 0 ||
        !state_.index.MayEraseFromDisk(id)) {
      continue;
    }
    together.left.erase(id);
    // Upwards, because the last child that goes lets its parent go.
    together.at = state_.index.node(id).parent;
    BeginEraseOne(id);
    erased.push_back(id);
  }
  return erased;
}

std::vector<BlockId> DiskResidency::BeginEraseCondemned(size_t count) {
  std::vector<BlockId> erased;
  // Line by line: to look at all of them for each block takes long where there are many.
  for (bool more = true; more;) {
    more = false;
    for (uint32_t line = 0; line < state_.lines.size() && erased.size() < count; ++line) {
      while (erased.size() < count) {
        // The last child on disk that goes lets its parent go.
        const BlockId id = candidates_.BestOfLine(line, {CandidateKind::kCondemned});
        if (id == kNoBlock) break;
        BeginEraseOne(id);
        erased.push_back(id);
        more = true;
      }
    }
    more = more && erased.size() < count;
  }
  return erased;
}

void DiskResidency::BeginEraseOne(BlockId id) {
  const bool was_in_store = state_.index.node(id).in_store();
  // Kept, the RAM copy would be the next one to be written, for nothing. In place of a condemned
  // copy it should be.
  if (state_.index.MayEvict(id)) ram_.Release(id);
  const bool was_good = state_.index.node(id).readable_on_disk();
  if (was_good && state_.index.MayEvictFromGpu(id)) gpu_.Release(id);
  state_.index.BeginErase(id);
  candidates_.UpdateWithParent(id);
  ++state_.erasing_blocks;
  if (was_in_store && !state_.index.node(id).in_store()) ++state_.counters.dropped_blocks;
}

void DiskResidency::EndErase(const std::vector<BlockId>& blocks) {
  state_.erasing_blocks -= static_cast<int64_t>(blocks.size());
  for (const BlockId id : blocks) {
    state_.index.EndErase(id);
    state_.index.SetLoadFailed(id, false);
    state_.condemned.erase(id);
    candidates_.UpdateWithParent(id);
  }
  for (const BlockId id : blocks) state_.index.RemoveIfGone(id);
}

void DiskResidency::AbortErase(const std::vector<BlockId>& blocks) {
  state_.erasing_blocks -= static_cast<int64_t>(blocks.size());
  for (const BlockId id : blocks) {
    state_.index.AbortErase(id);
    state_.condemned.insert(id);
    candidates_.UpdateWithParent(id);
  }
}

std::optional<SlotIndex> DiskResidency::BeginLoad(BlockId id) {
  const std::optional<SlotIndex> slot = ram_.AllocateSlot(state_.index.node(id).namespace_id);
  if (!slot.has_value()) return std::nullopt;
  state_.loading.insert(*slot);
  state_.index.SetLoading(id);
  candidates_.Update(id);
  ++state_.loading_blocks;
  return slot;
}

bool DiskResidency::EndLoad(BlockId id, SlotIndex slot) {
  const Node& node = state_.index.node(id);
  // Sealed meanwhile, or condemned with an ancestor: the loaded copy is not needed.
  if (node.in_ram() || node.condemned) return AbortLoad(id, slot);
  state_.index.ClearLoading(id);
  state_.index.SetLoadFailed(id, false);
  --state_.loading_blocks;
  CHECK(state_.loading.erase(slot) == 1);
  ram_.Attach(id, slot, node.payload_hash);
  // Nobody waits for it any more: it was used just now all the same.
  if (node.pins == 0) state_.order->OnUse(id, kNoBlock);
  ++state_.counters.promoted_blocks;
  return true;
}

bool DiskResidency::AbortLoad(BlockId id, SlotIndex slot) {
  state_.index.ClearLoading(id);
  candidates_.Update(id);
  --state_.loading_blocks;
  CHECK(state_.loading.erase(slot) == 1);
  state_.pool.Free(slot);
  const Node& node = state_.index.node(id);
  const bool readable = node.in_ram() && node.in_store();
  state_.index.RemoveIfGone(id);
  return readable;
}

void DiskResidency::NoteDiskFull(uint64_t payload_bytes, bool full) {
  const uint32_t size_class = state_.SizeClassOf(payload_bytes);
  if (size_class >= class_is_full_.size()) class_is_full_.resize(size_t{size_class} + 1);
  class_is_full_[size_class] = full;
}

void DiskResidency::NoteIoError(BlockId id) {
  if (state_.index.node(id).load_failed) {
    Condemn(id, Removal::kLost);
  } else {
    state_.index.SetLoadFailed(id, true);
  }
}

void DiskResidency::ReplaceUnreadable(BlockId id) {
  const Node& node = state_.index.node(id);
  if (node.load_failed && node.readable_on_disk()) Condemn(id, Removal::kLost);
}

void DiskResidency::Condemn(BlockId id, Removal why) {
  CondemnBelow(id, state_.index.node(state_.index.node(id).parent).in_store(), why);
}

void DiskResidency::DropLost(BlockId id) {
  if (!state_.index.node(id).in_use) return;
  CondemnBelow(id, /*reachable=*/false, Removal::kLost);
}

void DiskResidency::DropCorrupt(BlockId id) {
  ++state_.counters.corrupt_ram_blocks;
  CondemnBelow(id, /*reachable=*/false, Removal::kFailedVerification);
  // Its readers keep it, and nobody else gets it: neither a ticket that is not done nor a seal.
  const Node& node = state_.index.node(id);
  if (node.in_use && node.doomed) state_.index.MarkStale(id);
}

void DiskResidency::CondemnBelow(BlockId id, bool reachable, Removal why) {
  CondemnAndOrphan(id, reachable, why);
  CondemnOrphans(kCondemnedAtOnce);
}

void DiskResidency::CondemnOrphans(size_t count) {
  while (count-- > 0 && !state_.orphans.empty()) {
    const BlockId id = state_.orphans.back();
    state_.orphans.pop_back();
    state_.index.SetOrphan(id, false);
    const Node& node = state_.index.node(id);
    AddOrphan(node.next_sibling);
    // What was condemned before it is in the store only if it can be reached, in RAM.
    CondemnAndOrphan(id, state_.index.node(node.parent).in_store(), Removal::kLost);
  }
}

void DiskResidency::CondemnAndOrphan(BlockId id, bool reachable, Removal why) {
  AddOrphan(state_.index.node(id).first_child);
  CondemnOne(id, reachable, why);
  state_.index.RemoveIfGone(id);
}

void DiskResidency::AddOrphan(BlockId id) {
  // One that is there already stands for its next siblings too.
  if (id == kNoBlock || state_.index.node(id).orphan) return;
  state_.index.SetOrphan(id, true);
  state_.orphans.push_back(id);
}

void DiskResidency::Invalidate(BlockId id) {
  CondemnOne(id, /*reachable=*/false, Removal::kInvalidated);
  const Node& node = state_.index.node(id);
  if (node.pins > 0 || node.in_memory()) state_.index.MarkStale(id);
  state_.index.RemoveIfGone(id);
}

void DiskResidency::CondemnOne(BlockId id, bool reachable, Removal why) {
  const Node& node = state_.index.node(id);
  const bool was_in_store = node.in_store();
  if (node.disk != DiskState::kNone && !node.condemned) {
    state_.index.Condemn(id, why);
    state_.condemned.insert(id);
  }
  if (node.in_memory() && (!reachable || node.doomed)) DropUnreachable(id, why);
  candidates_.UpdateWithParent(id);
  if (was_in_store && !node.in_store()) ++state_.counters.dropped_blocks;
}

void DiskResidency::DropUnreachable(BlockId id, Removal why) {
  const Node& node = state_.index.node(id);
  if (node.in_ram() && node.pins == 0 && node.disk != DiskState::kStoring) ram_.Release(id, why);
  if (node.in_gpu && !node.gpu_held) gpu_.Release(id, why);
  if (node.in_memory()) state_.index.Doom(id, why);
}

}  // namespace reprise::cachestore
