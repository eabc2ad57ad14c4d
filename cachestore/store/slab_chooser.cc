#include "cachestore/store/slab_chooser.h"

#include <algorithm>

#include "absl/container/flat_hash_map.h"

namespace reprise::cachestore {
namespace {

// While there is a victim of the wanted size, an old slab may as well be found by a later call.
constexpr size_t kSlabsBesideVictim = 1;
// A look at a slab ends with its first block that must stay, so this many take about 100 us.
constexpr size_t kSlabsWithoutVictim = 1024;

}  // namespace

std::optional<std::vector<BlockId>> SlabChooser::BlocksAround(SlotIndex slot,
                                                              uint64_t block_bytes) const {
  std::vector<BlockId> blocks;
  for (const SlotIndex used : state_.pool.SlotsInTheWay(slot, block_bytes)) {
    const auto copy = state_.ram_copies.find(used);
    if (copy == state_.ram_copies.end()) return std::nullopt;
    blocks.push_back(copy->second.owner);
  }
  if (blocks.empty()) return std::nullopt;
  return blocks;
}

template <typename Good>
std::vector<BlockId> SlabChooser::Find(uint64_t block_bytes, BlockId head, size_t num_slabs,
                                       Good good) {
  SlotIndex slot = state_.index.node(head).ram_slot;
  for (size_t i = 0; i <= num_slabs; ++i) {
    std::optional<std::vector<BlockId>> blocks = BlocksAround(slot, block_bytes);
    if (blocks.has_value() && good(*blocks)) return *std::move(blocks);
    if (i >= state_.pool.num_slabs()) break;
    slot = state_.pool.NextSlab(&cursor_);
  }
  return {};
}

std::vector<BlockId> SlabChooser::BlocksToTake(uint64_t block_bytes, BlockId same) {
  const uint32_t size_class = state_.SizeClassOf(block_bytes);
  const BlockId head =
      state_.ram_victims() == Victims::kClean
          ? candidates_.BestOfOthers(size_class, {CandidateKind::kClean})
          : candidates_.BestOfOthers(
                size_class, {CandidateKind::kClean, CandidateKind::kLast, CandidateKind::kTwin});
  if (head == kNoBlock) return {};
  if (same != kNoBlock && !state_.order->GoesBefore(head, same)) return {};
  return Find(block_bytes, head, same == kNoBlock ? kSlabsWithoutVictim : kSlabsBesideVictim,
              [&](const std::vector<BlockId>& blocks) {
                return MayTakeAll(blocks) && (same == kNoBlock || GoMostlyBefore(blocks, same));
              });
}

std::vector<BlockId> SlabChooser::BlocksToClean(uint64_t block_bytes) {
  const BlockId head = candidates_.BestOfOthers(
      state_.SizeClassOf(block_bytes),
      {CandidateKind::kClean, CandidateKind::kLast, CandidateKind::kParent});
  if (head == kNoBlock) return {};
  return Find(block_bytes, head, kSlabsWithoutVictim,
              [&](const std::vector<BlockId>& blocks) { return MayCleanAll(blocks); });
}

bool SlabChooser::MayTakeAll(const std::vector<BlockId>& blocks) const {
  // Blocks that would leave the store go only together with all of their children.
  absl::flat_hash_map<BlockId, uint32_t> children_to_drop;
  for (const BlockId id : blocks) {
    if (MayLeaveRam(state_, id)) continue;
    const PrefixIndex::Node& node = state_.index.node(id);
    const bool last_may_go = state_.ram_victims() == Victims::kCleanOrLast || node.rejected;
    if (!last_may_go || node.pins > 0 || node.doomed || node.is_private || node.loading ||
        node.disk != DiskState::kNone) {
      return false;
    }
    if (!node.in_gpu) ++children_to_drop[node.parent];  // else it stays in the store
  }
  return std::all_of(blocks.begin(), blocks.end(), [&](BlockId id) {
    if (MayLeaveRam(state_, id)) return true;
    const auto it = children_to_drop.find(id);
    return state_.index.node(id).live_children == (it == children_to_drop.end() ? 0 : it->second);
  });
}

bool SlabChooser::MayCleanAll(const std::vector<BlockId>& blocks) const {
  return std::all_of(blocks.begin(), blocks.end(), [&](BlockId id) {
    return RamSetFor(state_, id) != kNoSet ||
           (state_.index.node(id).disk == DiskState::kStoring && state_.index.node(id).pins == 0);
  });
}

bool SlabChooser::GoMostlyBefore(const std::vector<BlockId>& blocks, BlockId same) const {
  const int64_t before = std::count_if(
      blocks.begin(), blocks.end(), [&](BlockId id) { return state_.order->GoesBefore(id, same); });
  return 2 * before >= static_cast<int64_t>(blocks.size());
}

}  // namespace reprise::cachestore
