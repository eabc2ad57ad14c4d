#include "cachestore/pool/slot_pool.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "cachestore/base/check.h"

namespace reprise::cachestore {
namespace {

// Large enough that mixed block sizes seldom cut slabs, small enough that one empties soon: few
// bytes and few slots.
constexpr size_t kMaxSlabBytes = size_t{32} << 20;
constexpr uint32_t kMaxSlabSlots = 64;

}  // namespace

SlotPool::SlotPool(absl::Span<std::byte> region)
    : region_(region),
      slab_units_(static_cast<uint32_t>(
          std::max<size_t>(1, std::min(kMaxSlabBytes, region.size() / 8) / kUnitBytes))) {
  CHECK(reinterpret_cast<uintptr_t>(region.data()) % kUnitBytes == 0);
  CHECK(region.size() % kUnitBytes == 0);
  CHECK(region.size() / kUnitBytes < kNoSlot);
  if (!region.empty()) AddExtent(0, static_cast<uint32_t>(region.size() / kUnitBytes));
}

uint32_t SlotPool::SlotUnits(size_t block_bytes) {
  CHECK(block_bytes > 0);
  return static_cast<uint32_t>((block_bytes + kUnitBytes - 1) / kUnitBytes);
}

size_t SlotPool::SlotBytes(size_t block_bytes) { return SlotUnits(block_bytes) * kUnitBytes; }

std::optional<SlotIndex> SlotPool::Allocate(size_t block_bytes, Owner owner) {
  CHECK(owner != kNobody);
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
  slab.owners[number] = owner;
  if (slab.free.empty()) open.erase(begin);
  used_units_ += slot_units;
  Count(owner, slot_units);
  ++used_slots_;
  return begin + number * slot_units;
}

SlotPool::Account& SlotPool::AccountOf(Owner owner) {
  if (owner >= accounts_.size()) accounts_.resize(size_t{owner} + 1);
  return accounts_[owner];
}

void SlotPool::Count(Owner owner, int64_t units) {
  Account& account = AccountOf(owner);
  account.units += units;
  group_units_[account.group] += units;
}

void SlotPool::Join(Owner owner, uint32_t group) {
  Account& account = AccountOf(owner);
  if (group >= group_units_.size()) group_units_.resize(size_t{group} + 1);
  group_units_[account.group] -= account.units;
  group_units_[group] += account.units;
  account.group = group;
}

bool SlotPool::CanAllocate(size_t block_bytes) const {
  const uint32_t slot_units = SlotUnits(block_bytes);
  if (const auto open = open_.find(slot_units); open != open_.end() && !open->second.empty()) {
    return true;
  }
  return !extents_by_length_.empty() && extents_by_length_.rbegin()->first >= slot_units;
}

void SlotPool::Free(SlotIndex slot) {
  const auto it = slabs_.find(SlabOf(slot)->first);
  Slab& slab = it->second;
  const uint32_t number = (slot - it->first) / slab.slot_units;
  const Owner owner = std::exchange(slab.owners[number], kNobody);
  CHECK(owner != kNobody);
  Count(owner, -int64_t{slab.slot_units});
  slab.free.push_back(number);
  used_units_ -= slab.slot_units;
  --used_slots_;
  std::set<uint32_t>& open = open_.at(slab.slot_units);
  open.insert(it->first);
  if (slab.free.size() < slab.num_slots) return;
  open.erase(it->first);
  ReturnExtent(it->first, SlabUnits(slab));
  slabs_.erase(it);
}

absl::Span<std::byte> SlotPool::SlotMemory(SlotIndex slot) const {
  return region_.subspan(slot * kUnitBytes, SlabOf(slot)->second.slot_units * kUnitBytes);
}

std::vector<SlotIndex> SlotPool::SlotsInTheWay(SlotIndex slot, size_t block_bytes) const {
  const uint32_t slot_units = SlotUnits(block_bytes);
  const auto first = SlabOf(slot);
  std::vector<SlabMap::const_iterator> slabs = {first};
  uint32_t begin = first->first;
  uint32_t end = begin + SlabUnits(first->second);
  const auto may_go = [&](SlabMap::const_iterator slab) {
    return slab != slabs_.end() && slab->second.slot_units != slot_units;
  };
  // Free units beside the slabs first, then one slab more, to the right while that is possible.
  for (;;) {
    if (const auto right = extents_.find(end); right != extents_.end()) end += right->second;
    if (const auto after = extents_.lower_bound(begin); after != extents_.begin()) {
      const auto left = std::prev(after);
      if (left->first + left->second == begin) begin = left->first;
    }
    if (end - begin >= slot_units) break;
    const auto right = slabs_.find(end);
    const auto after = slabs_.lower_bound(begin);
    if (may_go(right)) {
      slabs.push_back(right);
      end += SlabUnits(right->second);
    } else if (after != slabs_.begin() && may_go(std::prev(after))) {
      slabs.push_back(std::prev(after));
      begin = slabs.back()->first;
    } else {
      return {};
    }
  }
  std::vector<SlotIndex> used;
  for (const auto& slab : slabs) {
    for (uint32_t number = 0; number < slab->second.num_slots; ++number) {
      if (slab->second.owners[number] == kNobody) continue;
      used.push_back(slab->first + number * slab->second.slot_units);
    }
  }
  return used;
}

SlotIndex SlotPool::NextSlab(uint32_t* cursor) const {
  if (slabs_.empty()) return kNoSlot;
  auto it = slabs_.lower_bound(*cursor);
  if (it == slabs_.end()) it = slabs_.begin();
  *cursor = it->first + 1;
  const std::vector<Owner>& owners = it->second.owners;
  const auto used =
      std::find_if(owners.begin(), owners.end(), [](Owner owner) { return owner != kNobody; });
  return it->first + static_cast<uint32_t>(used - owners.begin()) * it->second.slot_units;
}

int64_t SlotPool::CapacitySlots(size_t block_bytes) const {
  return static_cast<int64_t>(region_.size() / SlotBytes(block_bytes));
}

std::optional<uint32_t> SlotPool::CutSlab(uint32_t slot_units) {
  if (extents_by_length_.empty()) return std::nullopt;
  const uint32_t wanted_slots = std::min(kMaxSlabSlots, std::max(1u, slab_units_ / slot_units));
  // The shortest extent that holds a whole slab, so that the long ones stay whole.
  auto fit = extents_by_length_.lower_bound({wanted_slots * slot_units, 0});
  if (fit == extents_by_length_.end()) --fit;
  const auto [length, begin] = *fit;
  if (length < slot_units) return std::nullopt;
  Slab slab;
  slab.slot_units = slot_units;
  slab.num_slots = std::min(wanted_slots, length / slot_units);
  slab.owners.resize(slab.num_slots, kNobody);
  slab.free.resize(slab.num_slots);
  for (uint32_t i = 0; i < slab.num_slots; ++i) slab.free[i] = slab.num_slots - 1 - i;
  const uint32_t taken = SlabUnits(slab);
  RemoveExtent(extents_.find(begin));
  if (taken < length) AddExtent(begin + taken, length - taken);
  slabs_.emplace(begin, std::move(slab));
  return begin;
}

void SlotPool::AddExtent(uint32_t begin, uint32_t length) {
  extents_.emplace(begin, length);
  extents_by_length_.emplace(length, begin);
}

void SlotPool::RemoveExtent(std::map<uint32_t, uint32_t>::iterator extent) {
  extents_by_length_.erase({extent->second, extent->first});
  extents_.erase(extent);
}

void SlotPool::ReturnExtent(uint32_t begin, uint32_t length) {
  const auto next = extents_.find(begin + length);
  if (next != extents_.end()) {
    length += next->second;
    RemoveExtent(next);
  }
  const auto after = extents_.lower_bound(begin);
  if (after != extents_.begin()) {
    const auto before = std::prev(after);
    if (before->first + before->second == begin) {
      begin = before->first;
      length += before->second;
      RemoveExtent(before);
    }
  }
  AddExtent(begin, length);
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
