#include "cachestore/store/gpu_residency.h"

#include <algorithm>
#include <limits>

#include "cachestore/base/check.h"
#include "cachestore/base/hash.h"

namespace reprise::cachestore {
namespace {

using Node = PrefixIndex::Node;

// Blocks that one call looks at, besides those that it takes.
constexpr size_t kLook = 64;

}  // namespace

std::vector<uint64_t> HashFetched(absl::Span<const Fetch> fetches, bool of_all) {
  std::vector<uint64_t> hashes;
  hashes.reserve(fetches.size());
  for (const Fetch& fetch : fetches) {
    const bool is_wanted = of_all || fetch.payload_hash != 0;
    hashes.push_back(is_wanted ? HashBytes64({fetch.piece.to, fetch.piece.bytes}) : 0);
  }
  return hashes;
}

std::optional<SlotIndex> GpuResidency::AllocateSlot(uint32_t namespace_id) {
  const uint64_t block_bytes = state_.namespaces[namespace_id].payload_bytes;
  if (!MakeRoom(block_bytes)) return std::nullopt;
  return state_.gpu.pool.Allocate(block_bytes, namespace_id);
}

bool GpuResidency::MakeRoom(uint64_t block_bytes) {
  if (state_.gpu.closed) return false;
  while (!state_.gpu.pool.CanAllocate(block_bytes)) {
    const BlockId id = Victim(block_bytes);
    if (id == kNoBlock) return false;
    Take(id);
  }
  return true;
}

bool GpuResidency::HasCandidates() const {
  return candidates_.BestOfAll({CandidateKind::kGpuClean, CandidateKind::kGpuLast,
                                CandidateKind::kGpuParent}) != kNoBlock;
}

bool GpuResidency::HasLessReadyThan(int64_t bytes) const {
  const GpuState& gpu = state_.gpu;
  return gpu.capacity_bytes() - gpu.pool.used_bytes() +
             std::min(gpu.clean_tail_bytes, gpu.clean_bytes) <
         bytes;
}

BlockId GpuResidency::Victim(uint64_t block_bytes) const {
  const uint32_t size_class = state_.SizeClassOf(block_bytes);
  const auto best = [&](Candidates::Kinds kinds) {
    const BlockId same = candidates_.Best(size_class, kinds);
    return same != kNoBlock ? same : candidates_.BestOfOthers(size_class, kinds);
  };
  return state_.gpu.victims == Victims::kClean
             ? best({CandidateKind::kGpuClean})
             : best({CandidateKind::kGpuClean, CandidateKind::kGpuLast});
}

void GpuResidency::Take(BlockId id) {
  GpuState& gpu = state_.gpu;
  // As in RAM: what is dirty and goes before it was not cleaned in time.
  const BlockId dirty = candidates_.BestOfAll({CandidateKind::kGpuLast, CandidateKind::kGpuParent});
  const bool out_of_turn =
      dirty != kNoBlock && (dirty == id || state_.order->GoesBefore(dirty, id));
  gpu.clean_tail_bytes =
      out_of_turn ? 0 : std::max<int64_t>(0, gpu.clean_tail_bytes - state_.slot_bytes(id));
  if (state_.index.MayEvictFromGpu(id)) {
    ++state_.counters.demoted_from_gpu_blocks;
    Release(id);
    return;
  }
  CHECK(state_.index.MayDropFromGpu(id));
  ++state_.counters.dropped_blocks;
  Release(id);
  state_.index.RemoveIfGone(id);
}

Moment GpuResidency::MomentOf(uint64_t mark) {
  GpuState& gpu = state_.gpu;
  if (mark > gpu.num_marks) {
    gpu.num_marks = mark;
    gpu.last_mark = device_->Mark(Lane::kCompute);
  }
  return mark == 0 ? Moment{} : gpu.last_mark;
}

void GpuResidency::FreeSlot(SlotIndex slot) {
  state_.gpu.freed = NextMark();
  state_.gpu.pool.Free(slot);
}

BlockId GpuResidency::Seal(const SealRequest& request) {
  const auto writing = state_.gpu.writing.find(request.slot);
  // What a failed device has written is for its writer alone, who will learn of it.
  state_.counters.sealed_blocks += state_.gpu.closed;
  const BlockId id = state_.gpu.closed
                         ? state_.index.InsertPrivate(request.namespace_id, request.key)
                         : EnterSealed(state_, request, writing->second);
  state_.gpu.writing.erase(writing);
  if (state_.index.node(id).in_gpu) {
    ++state_.counters.duplicate_seals;
    state_.index.LiftDoom(id);
    candidates_.UpdateWithParent(id);
    FreeSlot(request.slot);
  } else {
    Attach(id, {.slot = request.slot, .written = NextMark()});
  }
  Pin(id);
  return id;
}

void GpuResidency::Attach(BlockId id, const GpuCopy& copy) {
  state_.index.AttachGpu(id);
  CHECK(state_.gpu.copies.emplace(id, copy).second);
  candidates_.UpdateWithParent(id);
}

void GpuResidency::Release(BlockId id, Removal why) {
  state_.index.DetachGpu(id, why);
  const auto copy = state_.gpu.copies.find(id);
  FreeSlot(copy->second.slot);
  state_.gpu.copies.erase(copy);
  candidates_.UpdateWithParent(id);
}

void GpuResidency::Pin(BlockId id) {
  if (state_.gpu.copies.at(id).pins++ > 0) return;
  ++state_.gpu.pinned_blocks;
  state_.index.SetGpuHeld(id, true);
  state_.index.SetRejected(id, false);
  candidates_.Update(id);
}

void GpuResidency::Unpin(BlockId id) {
  if (const auto lost = state_.gpu.lost.find(id); lost != state_.gpu.lost.end()) {
    UnpinLost(lost);
    return;
  }
  GpuCopy& copy = state_.gpu.copies.at(id);
  CHECK(copy.pins > 0);
  if (--copy.pins > 0) return;
  --state_.gpu.pinned_blocks;
  const Node& node = state_.index.node(id);
  if (!node.doomed && !node.is_private) {
    const Node& parent = state_.index.node(node.parent);
    const bool parent_is_idle =
        !parent.is_root && parent.in_gpu && !parent.gpu_held && parent.pins == 0;
    state_.order->OnUse(id, parent_is_idle ? node.parent : kNoBlock);
  }
  EndUse(id);
}

void GpuResidency::UnpinLost(absl::flat_hash_map<BlockId, GpuCopy>::iterator lost) {
  if (--lost->second.pins > 0) return;
  --state_.gpu.pinned_blocks;
  const BlockId id = lost->first;
  FreeSlot(lost->second.slot);
  state_.gpu.lost.erase(lost);
  ram_.Unpin(id);
}

std::vector<BlockId> GpuResidency::Close() {
  state_.gpu.closed = true;
  state_.gpu.takes_last_of_ram = false;
  path_.clear();
  state_.gpu.wanted_below.clear();
  std::vector<BlockId> gone;
  absl::flat_hash_map<BlockId, GpuCopy> copies = std::move(state_.gpu.copies);
  state_.gpu.copies.clear();
  for (const auto& [id, copy] : copies) {
    if (copy.pins > 0) {
      state_.gpu.lost.emplace(id, copy);
      ram_.Pin(id);
    } else {
      FreeSlot(copy.slot);
    }
    const Node& node = state_.index.node(id);
    const bool was_in_store = node.in_store();
    state_.index.SetGpuHeld(id, false);
    state_.index.DetachGpu(id, Removal::kLost);
    candidates_.UpdateWithParent(id);
    // Private and doomed ones were nobody's to find.
    state_.counters.lost_gpu_blocks += was_in_store && !node.in_store();
    if (!node.in_ram() && !node.readable_on_disk()) gone.push_back(id);
  }
  return gone;
}

void GpuResidency::EndUse(BlockId id) {
  const GpuCopy& copy = state_.gpu.copies.at(id);
  if (copy.pins > 0 || copy.fetching) return;
  const Node& node = state_.index.node(id);
  state_.index.SetGpuHeld(id, false);
  if (node.doomed || node.is_private) Release(id);
  candidates_.Update(id);
  state_.index.RemoveIfGone(id);
}

std::optional<SlotIndex> GpuResidency::BeginLoad(BlockId id) {
  const std::optional<SlotIndex> slot = AllocateSlot(state_.index.node(id).namespace_id);
  if (slot.has_value()) state_.gpu.loading.insert(*slot);
  return slot;
}

bool GpuResidency::EndLoad(BlockId id, SlotIndex slot) {
  const Node& node = state_.index.node(id);
  // Sealed meanwhile, or lost or invalidated: the copy is not needed.
  if (node.in_gpu || !node.in_store() || state_.gpu.closed) {
    AbortLoad(slot);
    return node.in_gpu && node.in_store();
  }
  CHECK(state_.gpu.loading.erase(slot) == 1);
  Attach(id, {.slot = slot, .payload_hash = state_.ram_copy(id).payload_hash});
  ++state_.counters.promoted_to_gpu_blocks;
  return true;
}

void GpuResidency::AbortLoad(SlotIndex slot) {
  CHECK(state_.gpu.loading.erase(slot) == 1);
  FreeSlot(slot);
}

std::optional<Fetch> GpuResidency::BeginFetch(BlockId id) {
  return BeginFetchInto(id, ram_.AllocateSlot(state_.index.node(id).namespace_id));
}

std::optional<Fetch> GpuResidency::BeginFetchInto(BlockId id, std::optional<SlotIndex> ram_slot) {
  if (!ram_slot.has_value()) return std::nullopt;
  GpuCopy& copy = state_.gpu.copies.at(id);
  CHECK(!copy.fetching);
  copy.fetching = true;
  state_.fetching.insert(*ram_slot);
  state_.index.SetGpuHeld(id, true);
  candidates_.Update(id);
  return Fetch{.id = id,
               .ram_slot = *ram_slot,
               .piece = {.to = state_.pool.SlotMemory(*ram_slot).data(),
                         .from = state_.gpu.pool.SlotMemory(copy.slot).data(),
                         .bytes = state_.payload_bytes(id)},
               .written = MomentOf(copy.written),
               .payload_hash = copy.payload_hash};
}

FetchEnd GpuResidency::EndFetch(const Fetch& fetch, uint64_t payload_hash) {
  const Node& node = state_.index.node(fetch.id);
  // As of EndLoad. Once the tier is closed, the node may be another block's.
  if (state_.gpu.closed || node.in_ram() || !node.in_store()) {
    state_.pool.Free(fetch.ram_slot);
    EndFetching(fetch);
    const bool readable = node.in_use && node.in_ram() && node.in_store();
    return readable ? FetchEnd::kReadable : FetchEnd::kGone;
  }
  if (fetch.payload_hash != 0 && payload_hash != fetch.payload_hash) {
    state_.pool.Free(fetch.ram_slot);
    EndFetching(fetch);
    return FetchEnd::kCorrupt;
  }
  state_.gpu.copies.at(fetch.id).payload_hash = payload_hash;
  ram_.Attach(fetch.id, fetch.ram_slot, payload_hash);
  ++state_.counters.copied_from_gpu_blocks;
  EndFetching(fetch);
  GpuState& gpu = state_.gpu;
  if (state_.index.MayEvictFromGpu(fetch.id)) gpu.clean_tail_bytes += state_.slot_bytes(fetch.id);
  gpu.clean_tail_bytes = std::min(gpu.clean_tail_bytes, gpu.clean_bytes);
  return FetchEnd::kReadable;
}

void GpuResidency::AbortFetch(const Fetch& fetch) {
  state_.quarantined.insert(fetch.ram_slot);
  EndFetching(fetch);
}

void GpuResidency::EndFetching(const Fetch& fetch) {
  CHECK(state_.fetching.erase(fetch.ram_slot) == 1);
  if (state_.gpu.closed) return;
  state_.gpu.copies.at(fetch.id).fetching = false;
  EndUse(fetch.id);
}

bool GpuResidency::Dirty(BlockId id) const {
  const Node& node = state_.index.node(id);
  return node.in_use && node.in_gpu && !node.in_ram() && !node.readable_on_disk() && !node.doomed &&
         !node.is_private;
}

bool GpuResidency::IsFull(const FetchBatch& batch, const FetchGoal& goal) const {
  if (batch.wanted_ram_for.has_value() || batch.fetches.size() >= goal.max_blocks) return true;
  if (batch.fetches.empty()) return false;
  const uint64_t bytes = state_.payload_bytes(batch.fetches.back().id);
  return (batch.fetches.size() + 1) * bytes > goal.max_bytes;
}

FetchBatch GpuResidency::BeginWriteBack(const FetchGoal& goal) {
  FetchBatch batch;
  if (state_.gpu.closed) return batch;
  if (!path_.empty()) TakePath(goal, batch);
  std::vector<BlockId> next = std::move(state_.gpu.wanted_below);
  state_.gpu.wanted_below.clear();
  const Candidates::Kinds dirty = {CandidateKind::kGpuLast, CandidateKind::kGpuParent};
  if (candidates_.BestOfAll(dirty) == kNoBlock) {
    // Nothing is dirty, so that everything clean goes before it.
    state_.gpu.clean_tail_bytes = state_.gpu.clean_bytes;
  } else if (const BlockId first = candidates_.BestUnused(dirty, goal.moment); first != kNoBlock) {
    const std::vector<BlockId> few =
        candidates_.BestFewOfSize(first, dirty, std::max(kLook, goal.max_blocks), goal.moment);
    next.insert(next.end(), few.begin(), few.end());
  }
  for (const BlockId id : next) {
    if (IsFull(batch, goal) || !path_.empty()) break;
    if (!Dirty(id) || IsFetching(id)) continue;
    path_ = {id};
    TakePath(goal, batch);
  }
  // Nobody else's go either.
  if (batch.fetches.empty() && path_.empty() && !batch.wanted_ram_for.has_value()) {
    batch.wanted_ram_for = batch.beyond_quota;
  }
  batch.look_again = batch.fetches.empty() && !batch.wanted_ram_for.has_value() && !path_.empty();
  return batch;
}

bool GpuResidency::Climb() {
  for (size_t looked = 0; looked < kLook; ++looked) {
    if (!Dirty(path_.back())) {
      path_.clear();
      return false;
    }
    const BlockId parent = state_.index.node(path_.back()).parent;
    if (state_.index.node(parent).is_root || !Dirty(parent)) return true;
    path_.push_back(parent);
  }
  return false;
}

void GpuResidency::TakePath(const FetchGoal& goal, FetchBatch& batch) {
  if (!Climb()) return;
  while (!path_.empty() && !IsFull(batch, goal)) {
    const BlockId id = path_.back();
    if (!Dirty(id)) {
      path_.clear();
      return;
    }
    if (!IsFetching(id)) {
      const std::optional<Fetch> fetch = BeginFetchInto(id, ram_.AllocateSlotBelowGpu(id));
      if (!fetch.has_value()) {
        const uint32_t ns = state_.index.node(id).namespace_id;
        // With a disk, copies go beyond a quota.
        const bool lacks_quota = !state_.has_disk && state_.LacksQuota(ns);
        (lacks_quota ? batch.beyond_quota : batch.wanted_ram_for) = ns;
        path_.clear();
        return;
      }
      batch.fetches.push_back(*fetch);
    }
    path_.pop_back();
  }
}

int64_t GpuResidency::TakeVictims(int64_t count, Victims victims, uint64_t moment) {
  const Candidates::Kinds clean = {CandidateKind::kGpuClean};
  const Candidates::Kinds all = {CandidateKind::kGpuClean, CandidateKind::kGpuLast};
  int64_t taken = 0;
  while (taken < count) {
    const std::vector<BlockId> few = candidates_.BestFewUnused(
        victims == Victims::kClean ? clean : all, moment, static_cast<size_t>(count - taken));
    if (few.empty()) break;
    for (const BlockId id : few) {
      const CandidateSet set =
          state_.index.node(id).in_use ? state_.order->SetOf(id, Membership::kGpu) : kNoSet;
      if (set == kNoSet) continue;
      Take(id);
      ++taken;
    }
  }
  return taken;
}

}  // namespace reprise::cachestore
