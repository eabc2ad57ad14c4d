#include "cachestore/pool/slot_pool.h"

#include <algorithm>
#include <iterator>

#include "cachestore/base/check.h"

namespace reprise::cachestore {
namespace {

// Large enough that mixed block sizes seldom cut slabs, small enough that one empties soon.
constexpr size_t kMaxSlabBytes = size_t{32} << 20;

}  // namespace

SlotPool::SlotPool(absl::Span<std::byte> region)
    : region_(region),
      slab_units_(static_cast<uint32_t>(
          std::max<size_t>(1, std::min(kMaxSlabBytes, region.size() / 8) / kUnitBytes))) {
  CHECK(reinterpret_cast<uintptr_t>(region.data()) % kUnitBytes == 0);
  CHECK(region.size() % kUnitBytes == 0);
  CHECK(region.size() / kUnitBytes < kNoSlot);
  if (!region.empty()) extents_[0] = static_cast<uint32_t>(region.size() / kUnitBytes);
}

uint32_t SlotPool::SlotUnits(size_t block_bytes) {
  CHECK(block_bytes > 0);
  return static_cast<uint32_t>((block_bytes + kUnitBytes - 1) / kUnitBytes);
}

size_t SlotPool::SlotBytes(size_t block_bytes) { return SlotUnits(block_bytes) * kUnitBytes; }

std::optional<SlotIndex> SlotPool::Allocate(size_t block_bytes) {
  const uint32_t slot_units = SlotUnits(block_bytes);
  std::set<uint32_t>& open = open_[slot_units];
  if (open.empty()) {
    const std::optional<uint32_t> begin = CutSlab(slot_units);
    if (!begin.has_value()) return std::nullopt;
    open.insert(*begin);
  }
  // The lowest slab first: the others drain and become free for other sizes.
  const uint32_t begin = *open.begin();
  Slab& slab = slabs_.at(begin);
  const uint32_t number = slab.free.back();
  slab.free.pop_back();
  slab.used[number] = true;
  if (slab.free.empty()) open.erase(begin);
  used_units_ += slot_units;
  ++used_slots_;
  return begin + number * slot_units;
}

bool SlotPool::CanAllocate(size_t block_bytes) const {
  const uint32_t slot_units = SlotUnits(block_bytes);
  if (const auto open = open_.find(slot_units); open != open_.end() && !open->second.empty()) {
    return true;
  }
  return std::any_of(extents_.begin(), extents_.end(),
                     [&](const auto& extent) { return extent.second >= slot_units; });
}

void SlotPool::Free(SlotIndex slot) {
  const auto it = slabs_.find(SlabOf(slot)->first);
  Slab& slab = it->second;
  const uint32_t number = (slot - it->first) / slab.slot_units;
  CHECK(slab.used[number]);
  slab.used[number] = false;
  slab.free.push_back(number);
  used_units_ -= slab.slot_units;
  --used_slots_;
  std::set<uint32_t>& open = open_.at(slab.slot_units);
  open.insert(it->first);
  if (slab.free.size() < slab.num_slots) return;
  open.erase(it->first);
  ReturnExtent(it->first, slab.num_slots * slab.slot_units);
  slabs_.erase(it);
}

absl::Span<std::byte> SlotPool::SlotMemory(SlotIndex slot) const {
  return region_.subspan(slot * kUnitBytes, SlabOf(slot)->second.slot_units * kUnitBytes);
}

std::vector<SlotIndex> SlotPool::UsedSlotsOfSlab(SlotIndex slot) const {
  const auto it = SlabOf(slot);
  std::vector<SlotIndex> used;
  for (uint32_t number = 0; number < it->second.num_slots; ++number) {
    if (it->second.used[number]) used.push_back(it->first + number * it->second.slot_units);
  }
  return used;
}

int64_t SlotPool::CapacitySlots(size_t block_bytes) const {
  return static_cast<int64_t>(region_.size() / SlotBytes(block_bytes));
}

std::optional<uint32_t> SlotPool::CutSlab(uint32_t slot_units) {
  const auto extent = std::find_if(extents_.begin(), extents_.end(), [&](const auto& candidate) {
    return candidate.second >= slot_units;
  });
  if (extent == extents_.end()) return std::nullopt;
  const auto [begin, length] = *extent;
  Slab slab;
  slab.slot_units = slot_units;
  slab.num_slots = std::min(std::max(1u, slab_units_ / slot_units), length / slot_units);
  slab.used.resize(slab.num_slots);
  slab.free.resize(slab.num_slots);
  for (uint32_t i = 0; i < slab.num_slots; ++i) slab.free[i] = slab.num_slots - 1 - i;
  const uint32_t taken = slab.num_slots * slot_units;
  extents_.erase(extent);
  if (taken < length) extents_[begin + taken] = length - taken;
  slabs_.emplace(begin, std::move(slab));
  return begin;
}

void SlotPool::ReturnExtent(uint32_t begin, uint32_t length) {
  const auto next = extents_.find(begin + length);
  if (next != extents_.end()) {
    length += next->second;
    extents_.erase(next);
  }
  const auto after = extents_.lower_bound(begin);
  if (after != extents_.begin()) {
    const auto before = std::prev(after);
    if (before->first + before->second == begin) {
      before->second += length;
      return;
    }
  }
  extents_[begin] = length;
}

SlotPool::SlabMap::const_iterator SlotPool::SlabOf(SlotIndex slot) const {
  const auto after = slabs_.upper_bound(slot);
  CHECK(after != slabs_.begin());
  const auto it = std::prev(after);
  CHECK(slot < it->first + it->second.num_slots * it->second.slot_units);
  CHECK((slot - it->first) % it->second.slot_units == 0);
  return it;
}

}  // namespace reprise::cachestore
