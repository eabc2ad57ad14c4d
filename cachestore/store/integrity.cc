#include "cachestore/store/integrity.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cachestore/base/status_macros.h"
#include "cachestore/store/candidates.h"

namespace reprise::cachestore {
namespace {

using Node = PrefixIndex::Node;

template <typename A, typename B>
absl::Status Same(absl::string_view what, A a, B b) {
  if (static_cast<int64_t>(a) == static_cast<int64_t>(b)) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("integrity: ", what, ": ", a, " != ", b));
}

absl::Status Broken(const Node& node, absl::string_view what) {
  return absl::InternalError(absl::StrCat("integrity: block ", node.key.ToHex(), ": ", what));
}

absl::Status CheckChildren(const StoreState& state, BlockId id) {
  const Node& node = state.index.node(id);
  int64_t live = 0;
  int64_t on_disk = 0;
  for (BlockId child = node.first_child; child != kNoBlock;
       child = state.index.node(child).next_sibling) {
    const Node& c = state.index.node(child);
    if (!c.in_use || c.parent != id) return Broken(node, "a child does not name it as parent");
    live += c.in_store();
    on_disk += c.needs_parent_on_disk();
  }
  RETURN_IF_ERROR(Same("live children", node.live_children, live));
  RETURN_IF_ERROR(Same("children on disk", node.children_on_disk, on_disk));
  // With orphans, something below a lost block is in the store still.
  if (live > 0 && !node.in_store() && state.orphans.empty()) {
    return Broken(node, "has children in the store and is not");
  }
  return absl::OkStatus();
}

absl::Status CheckTreePlace(const StoreState& state, BlockId id) {
  const Node& node = state.index.node(id);
  if (node.is_root || node.is_private) return absl::OkStatus();
  if (state.index.Find(node.key) != id) return Broken(node, "is not found by its key");
  if (node.parent == kNoBlock || !state.index.node(node.parent).in_use) {
    return Broken(node, "has no parent");
  }
  const Node& parent = state.index.node(node.parent);
  const auto depth = parent.is_root ? 0 : std::min(parent.depth + 1u, PrefixIndex::kMaxDepth);
  if (node.depth != depth) return Broken(node, "has not the depth behind its parent's");
  if (node.disk == DiskState::kStored && !parent.is_root && parent.disk != DiskState::kStored) {
    return Broken(node, "is on disk and its parent is not");
  }
  if (!node.in_memory() && node.disk == DiskState::kNone && node.pins == 0 && !node.loading &&
      !node.orphan && node.first_child == kNoBlock) {
    return Broken(node, "is gone and still there");
  }
  return absl::OkStatus();
}

}  // namespace

StateCheck::StateCheck(const StoreState& state) : state_(state) {
  totals_.in_tiers.resize(state.book.num_namespaces());
  totals_.held.resize(state.book.num_namespaces());
  totals_.candidates.resize(state.lines.size() * kNumCandidateKinds);
  totals_.clean_of_shares.resize(state_.shares.size());
  totals_.twice_held.resize(state_.shares.size());
}

absl::Status StateCheck::CheckOrders(BlockId id) {
  const Node& node = state_.index.node(id);
  if (node.is_root) return absl::OkStatus();
  const CandidateSet ram = RamSetFor(state_, id);
  const CandidateSet disk = DiskSetFor(state_, id);
  if (state_.order->SetOf(id, Membership::kRam) != ram) {
    return Broken(node, "is not in the candidate set of its RAM copy");
  }
  if (state_.order->SetOf(id, Membership::kDisk) != disk) {
    return Broken(node, "is not in the candidate set of its disk copy");
  }
  const CandidateSet gpu = GpuSetFor(state_, id);
  if (state_.order->SetOf(id, Membership::kGpu) != gpu) {
    return Broken(node, "is not in the candidate set of its GPU copy");
  }
  if (gpu == SetFor(state_.namespace_of(id).line, CandidateKind::kGpuClean)) {
    totals_.gpu_clean_bytes += state_.slot_bytes(id);
  }
  for (const CandidateSet set : {ram, disk, gpu}) {
    if (set != kNoSet) ++totals_.candidates[set];
  }
  if (ram == SetFor(state_.namespace_of(id).line, CandidateKind::kClean)) {
    totals_.clean_bytes += state_.slot_bytes(id);
    totals_.clean_of_shares[state_.namespace_of(id).share] += state_.slot_bytes(id);
  }
  return absl::OkStatus();
}

absl::Status StateCheck::CheckGpuCopy(BlockId id) {
  const Node& node = state_.index.node(id);
  if (!node.in_gpu) {
    return node.gpu_held ? Broken(node, "is held on the GPU and not there") : absl::OkStatus();
  }
  const auto copy = state_.gpu.copies.find(id);
  if (copy == state_.gpu.copies.end()) return Broken(node, "has no slot on the GPU");
  ++totals_.in_gpu;
  totals_.pinned_on_gpu += copy->second.pins > 0;
  const auto bytes = static_cast<int64_t>(state_.gpu.pool.SlotMemory(copy->second.slot).size());
  totals_.gpu_bytes += bytes;
  RETURN_IF_ERROR(Same("slot bytes on the GPU", bytes, state_.slot_bytes(id)));
  if (node.gpu_held != (copy->second.pins > 0 || copy->second.fetching)) {
    return Broken(node, "is held on the GPU by nobody, or the other way round");
  }
  if ((node.doomed || node.is_private) && !node.gpu_held) {
    return Broken(node, "is on the GPU for nobody");
  }
  return absl::OkStatus();
}

absl::Status StateCheck::CheckNode(BlockId id) {
  const Node& node = state_.index.node(id);
  ++totals_.nodes;
  totals_.on_disk += node.disk == DiskState::kStored;
  totals_.storing += node.disk == DiskState::kStoring;
  totals_.erasing += node.disk == DiskState::kErasing;
  totals_.condemned += node.condemned;
  totals_.pinned += node.pins > 0;
  totals_.loading += node.loading;
  totals_.orphans += node.orphan;
  totals_.verifying += node.verifying;
  if (node.namespace_id >= totals_.in_tiers.size()) return Broken(node, "has no namespace");
  for (const CacheTier tier : kCacheTiers) {
    totals_.in_tiers[node.namespace_id][tier] += node.tiers().Has(tier);
  }
  if (node.tiers().Has(CacheTier::kRam) && node.tiers().Has(CacheTier::kDisk)) {
    totals_.twice_held[state_.namespace_of(id).share] += state_.slot_bytes(id);
  }
  TierCounts& held = totals_.held[node.namespace_id];
  held[CacheTier::kGpu] += node.in_gpu ? state_.slot_bytes(id) : 0;
  held[CacheTier::kRam] += node.in_ram() ? state_.slot_bytes(id) : 0;
  held[CacheTier::kDisk] += node.disk != DiskState::kNone;
  if (node.condemned != state_.condemned.contains(id)) {
    return Broken(node, "is condemned and not listed, or the other way round");
  }
  if (node.in_ram()) {
    ++totals_.in_ram;
    totals_.ram_bytes += static_cast<int64_t>(SlotPool::SlotBytes(state_.payload_bytes(id)));
    const auto copy = state_.ram_copies.find(node.ram_slot);
    if (copy == state_.ram_copies.end() || copy->second.owner != id) {
      return Broken(node, "does not own its slot");
    }
  }
  if (node.stale && !(node.in_memory() ? node.doomed : node.pins > 0)) {
    return Broken(node, "is stale, and matchable or in nobody's use");
  }
  RETURN_IF_ERROR(CheckGpuCopy(id));
  RETURN_IF_ERROR(CheckChildren(state_, id));
  RETURN_IF_ERROR(CheckTreePlace(state_, id));
  return CheckOrders(id);
}

absl::Status StateCheck::Step(size_t count) {
  absl::Status status;
  next_ = state_.index.VisitSome(next_, count, [&](BlockId id) {
    if (status.ok()) status = CheckNode(id);
  });
  return status;
}

absl::Status StateCheck::Finish() const {
  const PrefixIndex& index = state_.index;
  RETURN_IF_ERROR(Same("nodes", index.num_nodes(), totals_.nodes));
  RETURN_IF_ERROR(Same("namespaces", index.num_namespaces(), state_.namespaces.size()));
  RETURN_IF_ERROR(Same("blocks on disk", index.num_on_disk(), totals_.on_disk));
  RETURN_IF_ERROR(Same("condemned blocks", index.num_condemned(), totals_.condemned));
  RETURN_IF_ERROR(Same("condemned list", state_.condemned.size(), totals_.condemned));
  RETURN_IF_ERROR(Same("orphans", state_.orphans.size(), totals_.orphans));
  RETURN_IF_ERROR(Same("pinned blocks", index.num_pinned(), totals_.pinned));
  RETURN_IF_ERROR(Same("blocks being stored", state_.storing_blocks, totals_.storing));
  RETURN_IF_ERROR(Same("blocks being erased", state_.erasing_blocks, totals_.erasing));
  RETURN_IF_ERROR(Same("blocks being verified", state_.verifying_blocks, totals_.verifying));
  RETURN_IF_ERROR(FinishBook());
  RETURN_IF_ERROR(FinishShares());
  RETURN_IF_ERROR(Same("blocks being loaded", state_.loading_blocks, totals_.loading));
  if (static_cast<int64_t>(state_.loading.size()) > totals_.loading) {
    return absl::InternalError(absl::StrCat("integrity: ", state_.loading.size(),
                                            " slots are being loaded into, for ", totals_.loading,
                                            " blocks"));
  }
  for (CandidateSet set = 0; set < totals_.candidates.size(); ++set) {
    RETURN_IF_ERROR(Same(absl::StrCat("candidates of set ", set), state_.order->size(set),
                         totals_.candidates[set]));
  }
  RETURN_IF_ERROR(Same("clean bytes", state_.clean_bytes, totals_.clean_bytes));
  for (uint32_t share = 0; share < totals_.clean_of_shares.size(); ++share) {
    RETURN_IF_ERROR(Same(absl::StrCat("clean bytes of share ", share),
                         state_.shares[share].clean_bytes, totals_.clean_of_shares[share]));
    RETURN_IF_ERROR(Same(absl::StrCat("bytes in RAM and on disk of share ", share),
                         state_.book.twice_held_bytes_of_share(share), totals_.twice_held[share]));
  }
  RETURN_IF_ERROR(Same("owned slots", state_.ram_copies.size(), totals_.in_ram));
  RETURN_IF_ERROR(Same("used slots", state_.pool.used_slots(),
                       state_.ram_copies.size() + state_.writing.size() + state_.loading.size() +
                           state_.fetching.size() + state_.quarantined.size()));
  int64_t used_bytes = totals_.ram_bytes;
  for (const auto& [slot, epoch] : state_.writing) {
    used_bytes += static_cast<int64_t>(state_.pool.SlotMemory(slot).size());
  }
  for (const SlotIndex slot : state_.loading) {
    used_bytes += static_cast<int64_t>(state_.pool.SlotMemory(slot).size());
  }
  for (const SlotIndex slot : state_.quarantined) {
    used_bytes += static_cast<int64_t>(state_.pool.SlotMemory(slot).size());
  }
  for (const SlotIndex slot : state_.fetching) {
    used_bytes += static_cast<int64_t>(state_.pool.SlotMemory(slot).size());
  }
  RETURN_IF_ERROR(Same("used bytes", state_.pool.used_bytes(), used_bytes));
  if (state_.pool.used_bytes() > state_.pool.capacity_bytes()) {
    return absl::InternalError("integrity: more RAM is used than the budget allows");
  }
  return FinishGpu();
}

absl::Status StateCheck::FinishBook() const {
  const GpuState& gpu = state_.gpu;
  // Whose slots without a block are, only the pools know.
  const bool only_blocks = state_.writing.empty() && state_.loading.empty() &&
                           state_.fetching.empty() && state_.quarantined.empty();
  const bool only_blocks_on_gpu = gpu.writing.empty() && gpu.loading.empty() && gpu.lost.empty();
  int64_t ram_bytes = 0;
  int64_t gpu_bytes = 0;
  for (uint32_t id = 0; id < totals_.in_tiers.size(); ++id) {
    for (const CacheTier tier : kCacheTiers) {
      RETURN_IF_ERROR(
          Same(absl::StrCat("blocks of namespace ", id, " in tier ", static_cast<int>(tier)),
               state_.book.blocks(id)[tier], totals_.in_tiers[id][tier]));
    }
    const TierCounts& held = totals_.held[id];
    RETURN_IF_ERROR(Same(absl::StrCat("disk copies of namespace ", id), state_.book.disk_copies(id),
                         held[CacheTier::kDisk]));
    ram_bytes += state_.pool.used_bytes_of(id);
    gpu_bytes += gpu.pool.used_bytes_of(id);
    if (only_blocks) {
      RETURN_IF_ERROR(Same(absl::StrCat("RAM of namespace ", id), state_.pool.used_bytes_of(id),
                           held[CacheTier::kRam]));
    }
    if (only_blocks_on_gpu) {
      RETURN_IF_ERROR(Same(absl::StrCat("GPU memory of namespace ", id), gpu.pool.used_bytes_of(id),
                           held[CacheTier::kGpu]));
    }
  }
  RETURN_IF_ERROR(Same("RAM of all namespaces", state_.pool.used_bytes(), ram_bytes));
  return Same("GPU memory of all namespaces", gpu.pool.used_bytes(), gpu_bytes);
}

absl::Status StateCheck::FinishShares() const {
  std::vector<int64_t> listed(state_.namespaces.size());
  for (uint32_t number = kCommonShare + 1; number < state_.shares.size(); ++number) {
    int64_t ram_bytes = 0;
    int64_t disk_bytes = 0;
    for (const uint32_t id : state_.shares[number].namespaces) {
      if (id >= listed.size() || state_.namespaces[id].share != number) {
        return absl::InternalError(
            absl::StrCat("integrity: share ", number, " lists another one's namespace ", id));
      }
      ++listed[id];
      ram_bytes += state_.pool.used_bytes_of(id);
      disk_bytes += state_.book.disk_copies(id) * state_.namespaces[id].disk_bytes;
    }
    const std::string name = absl::StrCat(" of share ", number);
    RETURN_IF_ERROR(Same("RAM" + name, state_.RamBytesOf(number), ram_bytes));
    RETURN_IF_ERROR(Same("disk" + name, state_.DiskBytesOf(number), disk_bytes));
  }
  for (uint32_t id = 0; id < listed.size(); ++id) {
    const NamespaceRecord& record = state_.namespaces[id];
    const std::string name = absl::StrCat(" of namespace ", id);
    RETURN_IF_ERROR(Same("listings" + name, listed[id], record.share != kCommonShare));
    RETURN_IF_ERROR(Same("lines" + name, state_.lines.size() > record.line, 1));
    const CandidateLine& line = state_.lines[record.line];
    RETURN_IF_ERROR(Same("share of the line" + name, line.share, record.share));
    RETURN_IF_ERROR(Same("size class of the line" + name, line.size_class, record.size_class));
    const std::vector<uint32_t>& its = state_.shares[record.share].lines;
    RETURN_IF_ERROR(
        Same("lines of the share" + name, std::count(its.begin(), its.end(), record.line), 1));
  }
  return absl::OkStatus();
}

absl::Status StateCheck::FinishGpu() const {
  const GpuState& gpu = state_.gpu;
  RETURN_IF_ERROR(Same("blocks on the GPU", gpu.copies.size(), totals_.in_gpu));
  RETURN_IF_ERROR(Same("blocks pinned on the GPU", gpu.pinned_blocks,
                       totals_.pinned_on_gpu + static_cast<int64_t>(gpu.lost.size())));
  RETURN_IF_ERROR(Same("clean bytes on the GPU", gpu.clean_bytes, totals_.gpu_clean_bytes));
  RETURN_IF_ERROR(
      Same("used slots on the GPU", gpu.pool.used_slots(),
           gpu.copies.size() + gpu.lost.size() + gpu.writing.size() + gpu.loading.size()));
  int64_t used_bytes = totals_.gpu_bytes;
  const auto add = [&](SlotIndex slot) {
    used_bytes += static_cast<int64_t>(gpu.pool.SlotMemory(slot).size());
  };
  for (const auto& [id, copy] : gpu.lost) add(copy.slot);
  for (const auto& [slot, epoch] : gpu.writing) add(slot);
  for (const SlotIndex slot : gpu.loading) add(slot);
  RETURN_IF_ERROR(Same("used bytes on the GPU", gpu.pool.used_bytes(), used_bytes));
  if (gpu.pool.used_bytes() > gpu.capacity_bytes()) {
    return absl::InternalError("integrity: more GPU memory is used than the budget allows");
  }
  return absl::OkStatus();
}

absl::Status CheckState(const StoreState& state) {
  StateCheck check(state);
  RETURN_IF_ERROR(check.Step(std::numeric_limits<size_t>::max()));
  return check.Finish();
}

absl::Status CheckTierCounts(const StoreState& state, const BackingTier& tier) {
  if (tier.used_bytes() > tier.reserved_bytes() || tier.reserved_bytes() > tier.capacity_bytes()) {
    return absl::InternalError(absl::StrCat("integrity: the tier uses ", tier.used_bytes(),
                                            " bytes, reserves ", tier.reserved_bytes(), " and may ",
                                            tier.capacity_bytes()));
  }
  if (state.storing_blocks + state.erasing_blocks > 0) return absl::OkStatus();
  return Same("blocks in the tier", tier.num_blocks(), state.index.num_on_disk());
}

absl::Status CheckTier(const StoreState& state, BackingTier& tier) {
  RETURN_IF_ERROR(CheckTierCounts(state, tier));
  if (state.storing_blocks + state.erasing_blocks > 0) return absl::OkStatus();
  absl::Status status;
  RETURN_IF_ERROR(tier.ForEachKey([&](const BlockKey& key) {
    const BlockId id = state.index.Find(key);
    if (id != kNoBlock && state.index.node(id).disk == DiskState::kStored) return;
    if (status.ok()) {
      status = absl::InternalError(
          absl::StrCat("integrity: the tier holds block ", key.ToHex(), ", the index does not"));
    }
  }));
  return status;
}

}  // namespace reprise::cachestore
