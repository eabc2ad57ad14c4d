#include "cachestore/store/ram_residency.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "cachestore/base/check.h"

namespace reprise::cachestore {
namespace {

// Of the wanted size, when somebody waits: who needs one slot soon needs another.
constexpr size_t kBlocksToClean = 32;

// Taken at once for a quota, whose use may have grown by more than one block meanwhile.
constexpr size_t kTakenForQuota = 64;

// What is left of `tail` when a block of `bytes` is taken while `dirty` is the first dirty one.
int64_t TailWithout(BlockId id, int64_t bytes, BlockId dirty, const EvictionPolicy& order,
                    int64_t tail) {
  // A dirty block that goes before it was not cleaned in time: the demoter must look again.
  if (dirty != kNoBlock && (dirty == id || order.GoesBefore(dirty, id))) return 0;
  return std::max<int64_t>(0, tail - bytes);
}

}  // namespace

std::optional<SlotIndex> RamResidency::AllocateSlot(uint32_t namespace_id, Purpose purpose) {
  if (!MakeRoomFor(namespace_id, purpose)) return std::nullopt;
  const NamespaceRecord& record = state_.namespaces[namespace_id];
  const std::optional<SlotIndex> slot = state_.pool.Allocate(record.payload_bytes, namespace_id);
  const Share& share = state_.shares[record.share];
  if (share.quota.ram_bytes > 0 && state_.ReadyBytesOf(record.share) < share.low_watermark_bytes) {
    state_.NeedRelief(record.share);
  }
  return slot;
}

bool RamResidency::MakeRoomFor(uint32_t namespace_id, Purpose purpose) {
  const NamespaceRecord& record = state_.namespaces[namespace_id];
  const auto slot_bytes = static_cast<int64_t>(state_.class_slot_bytes[record.size_class]);
  const bool keeps_to_quota = MakeShareRoom(record.share, slot_bytes, kTakenForQuota);
  return (keeps_to_quota || purpose == Purpose::kCompute) && MakeRoom(record.payload_bytes);
}

bool RamResidency::MakeShareRoom(uint32_t share, int64_t more_bytes, size_t max_blocks) {
  const Share& its = state_.shares[share];
  if (its.quota.ram_bytes == 0) return true;
  // What could never fit takes nothing.
  if (more_bytes > its.quota.ram_bytes) return false;
  for (; state_.RamBytesOf(share) + more_bytes > its.quota.ram_bytes; --max_blocks) {
    const BlockId id =
        state_.victims == Victims::kClean
            ? candidates_.BestOfShare(share, {CandidateKind::kClean})
            : candidates_.BestOfShare(
                  share, {CandidateKind::kClean, CandidateKind::kLast, CandidateKind::kTwin});
    if (id == kNoBlock || max_blocks == 0) return false;
    Take(id);
  }
  return true;
}

void RamResidency::KeepToQuota(uint32_t share) {
  if (!MakeShareRoom(share, 0, kTakenForQuota)) state_.NeedRelief(share);
}

std::optional<SlotIndex> RamResidency::AllocateSlotBelowGpu(BlockId id) {
  const uint32_t namespace_id = state_.index.node(id).namespace_id;
  if (state_.has_disk) {
    state_.gpu.looks_for_ram = true;
    const std::optional<SlotIndex> slot = AllocateSlot(namespace_id, Purpose::kCompute);
    state_.gpu.looks_for_ram = false;
    if (slot.has_value()) state_.gpu.takes_last_of_ram = false;
    return slot;
  }
  const uint64_t block_bytes = state_.payload_bytes(id);
  if (!state_.FitsQuota(namespace_id)) return std::nullopt;
  while (state_.LacksQuota(namespace_id)) {
    const BlockId victim = candidates_.BestOfShare(state_.namespaces[namespace_id].share,
                                                   {CandidateKind::kClean, CandidateKind::kLast});
    if (victim == kNoBlock || !state_.order->GoesBefore(victim, id)) return std::nullopt;
    Take(victim);
  }
  while (!state_.pool.CanAllocate(block_bytes)) {
    const BlockId victim = candidates_.Best(state_.SizeClassOf(block_bytes),
                                            {CandidateKind::kClean, CandidateKind::kLast});
    if (victim == kNoBlock || !state_.order->GoesBefore(victim, id)) return std::nullopt;
    Take(victim);
  }
  return state_.pool.Allocate(block_bytes, namespace_id);
}

bool RamResidency::MakeRoom(uint64_t block_bytes) {
  while (!state_.pool.CanAllocate(block_bytes)) {
    const BlockId same = Victim(state_.SizeClassOf(block_bytes));
    const std::vector<BlockId> others = slabs_.BlocksToTake(block_bytes, same);
    if (!others.empty()) {
      TakeAll(others);
    } else if (same != kNoBlock) {
      Take(same);
    } else {
      return false;
    }
  }
  return true;
}

std::vector<BlockId> RamResidency::BlocksToClean(uint64_t block_bytes) {
  const Candidates::Kinds dirty = {CandidateKind::kLast, CandidateKind::kParent};
  const BlockId same = candidates_.Best(state_.SizeClassOf(block_bytes), dirty);
  return same == kNoBlock ? slabs_.BlocksToClean(block_bytes)
                          : candidates_.BestFewOfSize(same, dirty, kBlocksToClean);
}

bool RamResidency::HasCandidatesFor(uint32_t namespace_id) const {
  if (!state_.FitsQuota(namespace_id)) return false;
  if (!state_.LacksQuota(namespace_id)) return HasCandidates();
  return candidates_.BestOfShare(state_.namespaces[namespace_id].share,
                                 {CandidateKind::kClean, CandidateKind::kLast,
                                  CandidateKind::kParent, CandidateKind::kTwin}) != kNoBlock;
}

bool RamResidency::HasCandidates() const {
  return candidates_.BestOfAll({CandidateKind::kClean, CandidateKind::kLast, CandidateKind::kParent,
                                CandidateKind::kTwin}) != kNoBlock;
}

BlockId RamResidency::Victim(uint32_t size_class) const {
  return state_.ram_victims() == Victims::kClean
             ? candidates_.Best(size_class, {CandidateKind::kClean})
             : candidates_.Best(
                   size_class, {CandidateKind::kClean, CandidateKind::kLast, CandidateKind::kTwin});
}

bool RamResidency::MayTake(BlockId id, Victims victims) const {
  if (MayLeaveRam(state_, id)) return true;
  return state_.index.MayDrop(id) &&
         (victims == Victims::kCleanOrLast || state_.index.node(id).rejected);
}

void RamResidency::NoteTaken(BlockId id) {
  const Candidates::Kinds kinds = {CandidateKind::kLast, CandidateKind::kParent};
  const int64_t bytes = state_.slot_bytes(id);
  state_.clean_tail_bytes =
      TailWithout(id, bytes, candidates_.BestOfAll(kinds), *state_.order, state_.clean_tail_bytes);
  Share& share = state_.share_of(id);
  if (share.quota.ram_bytes == 0) return;
  const BlockId dirty = candidates_.BestOfShare(state_.namespace_of(id).share, kinds);
  share.clean_tail_bytes = TailWithout(id, bytes, dirty, *state_.order, share.clean_tail_bytes);
}

void RamResidency::Take(BlockId id) {
  NoteTaken(id);
  if (state_.index.MayEvict(id)) {
    ++state_.counters.demoted_blocks;
    Release(id);
    return;
  }
  CHECK(MayLeaveRam(state_, id) || state_.index.MayDrop(id));
  const PrefixIndex::Node& node = state_.index.node(id);
  state_.counters.dropped_blocks += node.in_gpu ? 0 : 1;
  Release(id, node.rejected ? Removal::kNotAdmitted : Removal::kEvicted);
  state_.index.RemoveIfGone(id);
}

void RamResidency::TakeAll(const std::vector<BlockId>& blocks) {
  absl::flat_hash_set<BlockId> left(blocks.begin(), blocks.end());
  for (const BlockId block : blocks) {
    // Upwards, because the last child that goes lets its parent go.
    for (BlockId id = block; left.contains(id) && MayTake(id, state_.ram_victims());) {
      const BlockId parent = state_.index.node(id).parent;
      left.erase(id);
      Take(id);
      id = parent;
    }
  }
  CHECK(left.empty());
}

BlockId RamResidency::Seal(const SealRequest& request) {
  const auto writing = state_.writing.find(request.slot);
  const BlockId id = EnterSealed(state_, request, writing->second);
  state_.writing.erase(writing);
  if (state_.index.node(id).in_ram()) {
    ++state_.counters.duplicate_seals;
    state_.index.LiftDoom(id);
    candidates_.UpdateWithParent(id);
    state_.pool.Free(request.slot);
  } else {
    Attach(id, request.slot, request.payload_hash);
  }
  Pin(id);
  return id;
}

void RamResidency::Attach(BlockId id, SlotIndex slot, uint64_t payload_hash) {
  state_.index.AttachRam(id, slot);
  CHECK(state_.ram_copies.emplace(slot, RamCopy{id, payload_hash}).second);
  candidates_.UpdateWithParent(id);
}

void RamResidency::Release(BlockId id, Removal why) {
  const SlotIndex slot = state_.index.DetachRam(id, why);
  CHECK(state_.ram_copies.erase(slot) == 1);
  state_.pool.Free(slot);
  candidates_.UpdateWithParent(id);
}

void RamResidency::Pin(BlockId id) {
  state_.index.Pin(id);
  if (state_.index.node(id).pins > 1) return;
  state_.index.SetRejected(id, false);
  candidates_.Update(id);
}

void RamResidency::Unpin(BlockId id) {
  if (state_.index.Unpin(id) > 0) return;
  const PrefixIndex::Node& node = state_.index.node(id);
  const uint32_t share = state_.namespace_of(id).share;
  if (node.in_ram() && !node.doomed && !node.is_private) {
    const PrefixIndex::Node& parent = state_.index.node(node.parent);
    const bool parent_is_idle = !parent.is_root && parent.in_ram() && parent.pins == 0;
    state_.order->OnUse(id, parent_is_idle ? node.parent : kNoBlock);
    candidates_.Update(id);
  } else {
    // A block being stored is still read; the end of the store lets it go.
    if (node.in_ram() && node.disk != DiskState::kStoring) Release(id);
    candidates_.Update(id);
    state_.index.RemoveIfGone(id);
  }
  KeepToQuota(share);
}

TakenBlocks RamResidency::TakeVictims(int64_t count, Victims victims, uint64_t moment) {
  const Candidates::Kinds clean = {CandidateKind::kClean};
  const Candidates::Kinds all = {CandidateKind::kClean, CandidateKind::kLast, CandidateKind::kTwin};
  TakenBlocks taken;
  while (taken.total() < count) {
    const std::vector<BlockId> few =
        candidates_.BestFewUnused(victims == Victims::kClean ? clean : all, moment,
                                  static_cast<size_t>(count - taken.total()));
    if (few.empty()) break;
    for (const BlockId id : few) {
      if (!state_.index.node(id).in_use || !MayTake(id, victims)) continue;
      ++(MayLeaveRam(state_, id) ? taken.evicted : taken.dropped);
      Take(id);
    }
  }
  return taken;
}

TakenBlocks RamResidency::TakeClean(const std::vector<BlockId>& blocks) {
  TakenBlocks taken;
  for (const BlockId id : blocks) {
    if (!state_.index.node(id).in_use || !MayTake(id, Victims::kClean)) continue;
    ++(state_.index.MayEvict(id) ? taken.evicted : taken.dropped);
    Take(id);
  }
  return taken;
}

}  // namespace reprise::cachestore
