#include "cachestore/store/integrity.h"

#include <cstdint>
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

struct Totals {
  int64_t nodes = 0;
  int64_t in_ram = 0;
  int64_t on_disk = 0;
  int64_t storing = 0;
  int64_t erasing = 0;
  int64_t condemned = 0;
  int64_t pinned = 0;
  int64_t loading = 0;
  std::vector<int64_t> candidates;  // by set
  int64_t clean_bytes = 0;
  int64_t used_bytes = 0;
};

absl::Status CheckChildren(const StoreState& state, BlockId id) {
  const Node& node = state.index.node(id);
  int64_t live = 0;
  int64_t on_disk = 0;
  for (BlockId child = node.first_child; child != kNoBlock;
       child = state.index.node(child).next_sibling) {
    const Node& c = state.index.node(child);
    if (!c.in_use || c.parent != id) return Broken(node, "a child does not name it as parent");
    live += c.in_store();
    on_disk += c.disk == DiskState::kStored;
  }
  RETURN_IF_ERROR(Same("live children", node.live_children, live));
  RETURN_IF_ERROR(Same("children on disk", node.children_on_disk, on_disk));
  if (live > 0 && !node.in_store()) return Broken(node, "has children in the store and is not");
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
  if (node.disk == DiskState::kStored && !parent.is_root && parent.disk != DiskState::kStored) {
    return Broken(node, "is on disk and its parent is not");
  }
  if (!node.in_ram() && node.disk == DiskState::kNone && node.pins == 0 && !node.loading &&
      node.first_child == kNoBlock) {
    return Broken(node, "is gone and still there");
  }
  return absl::OkStatus();
}

absl::Status CheckOrders(const StoreState& state, BlockId id, Totals& totals) {
  const Node& node = state.index.node(id);
  if (node.is_root) return absl::OkStatus();
  const CandidateSet ram = RamSetFor(state, id);
  const CandidateSet disk = DiskSetFor(state, id);
  if (state.order->SetOf(id, Membership::kRam) != ram) {
    return Broken(node, "is not in the candidate set of its RAM copy");
  }
  if (state.order->SetOf(id, Membership::kDisk) != disk) {
    return Broken(node, "is not in the candidate set of its disk copy");
  }
  for (const CandidateSet set : {ram, disk}) {
    if (set != kNoSet) ++totals.candidates[set];
  }
  if (ram == SetFor(state.namespace_of(id).size_class, CandidateKind::kClean)) {
    totals.clean_bytes += state.slot_bytes(id);
  }
  return absl::OkStatus();
}

absl::Status CheckNode(const StoreState& state, BlockId id, Totals& totals) {
  const Node& node = state.index.node(id);
  ++totals.nodes;
  totals.on_disk += node.disk == DiskState::kStored;
  totals.storing += node.disk == DiskState::kStoring;
  totals.erasing += node.disk == DiskState::kErasing;
  totals.condemned += node.condemned;
  totals.pinned += node.pins > 0;
  totals.loading += node.loading;
  if (node.condemned != state.condemned.contains(id)) {
    return Broken(node, "is condemned and not listed, or the other way round");
  }
  if (node.in_ram()) {
    ++totals.in_ram;
    totals.used_bytes += static_cast<int64_t>(SlotPool::SlotBytes(state.payload_bytes(id)));
    const auto copy = state.ram_copies.find(node.ram_slot);
    if (copy == state.ram_copies.end() || copy->second.owner != id) {
      return Broken(node, "does not own its slot");
    }
  }
  if (node.stale && !(node.in_ram() ? node.doomed : node.pins > 0)) {
    return Broken(node, "is stale, and matchable or in nobody's use");
  }
  RETURN_IF_ERROR(CheckChildren(state, id));
  RETURN_IF_ERROR(CheckTreePlace(state, id));
  return CheckOrders(state, id, totals);
}

}  // namespace

absl::Status CheckState(const StoreState& state) {
  Totals totals;
  totals.candidates.resize(state.class_slot_bytes.size() * kNumCandidateKinds);
  absl::Status status;
  state.index.ForEach([&](BlockId id) {
    if (status.ok()) status = CheckNode(state, id, totals);
  });
  RETURN_IF_ERROR(status);
  const PrefixIndex& index = state.index;
  RETURN_IF_ERROR(Same("nodes", index.num_nodes(), totals.nodes));
  RETURN_IF_ERROR(Same("namespaces", index.num_namespaces(), state.namespaces.size()));
  RETURN_IF_ERROR(Same("blocks on disk", index.num_on_disk(), totals.on_disk));
  RETURN_IF_ERROR(Same("condemned blocks", index.num_condemned(), totals.condemned));
  RETURN_IF_ERROR(Same("condemned list", state.condemned.size(), totals.condemned));
  RETURN_IF_ERROR(Same("pinned blocks", index.num_pinned(), totals.pinned));
  RETURN_IF_ERROR(Same("blocks being stored", state.storing_blocks, totals.storing));
  RETURN_IF_ERROR(Same("blocks being erased", state.erasing_blocks, totals.erasing));
  RETURN_IF_ERROR(Same("blocks being loaded", state.loading_blocks, totals.loading));
  if (static_cast<int64_t>(state.loading.size()) > totals.loading) {
    return absl::InternalError(absl::StrCat("integrity: ", state.loading.size(),
                                            " slots are being loaded into, for ", totals.loading,
                                            " blocks"));
  }
  for (CandidateSet set = 0; set < totals.candidates.size(); ++set) {
    RETURN_IF_ERROR(Same(absl::StrCat("candidates of set ", set), state.order->size(set),
                         totals.candidates[set]));
  }
  RETURN_IF_ERROR(Same("clean bytes", state.clean_bytes, totals.clean_bytes));
  RETURN_IF_ERROR(Same("owned slots", state.ram_copies.size(), totals.in_ram));
  RETURN_IF_ERROR(Same("used slots", state.pool.used_slots(),
                       state.ram_copies.size() + state.writing.size() + state.loading.size()));
  for (const auto& [slot, epoch] : state.writing) {
    totals.used_bytes += static_cast<int64_t>(state.pool.SlotMemory(slot).size());
  }
  for (const SlotIndex slot : state.loading) {
    totals.used_bytes += static_cast<int64_t>(state.pool.SlotMemory(slot).size());
  }
  RETURN_IF_ERROR(Same("used bytes", state.pool.used_bytes(), totals.used_bytes));
  if (state.pool.used_bytes() > state.pool.capacity_bytes()) {
    return absl::InternalError("integrity: more RAM is used than the budget allows");
  }
  return absl::OkStatus();
}

absl::Status CheckTier(const StoreState& state, BackingTier& tier) {
  if (tier.used_bytes() > tier.reserved_bytes() || tier.reserved_bytes() > tier.capacity_bytes()) {
    return absl::InternalError(absl::StrCat("integrity: the tier uses ", tier.used_bytes(),
                                            " bytes, reserves ", tier.reserved_bytes(), " and may ",
                                            tier.capacity_bytes()));
  }
  if (state.storing_blocks + state.erasing_blocks > 0) return absl::OkStatus();
  RETURN_IF_ERROR(Same("blocks in the tier", tier.num_blocks(), state.index.num_on_disk()));
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
