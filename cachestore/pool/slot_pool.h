// SlotPool: which slots of one memory region are used. It cuts the region into slots of whatever
// block sizes are asked for, without ever exceeding it.
//
//     region  | slab of 5 slots (size A) | slab of 3 (size B) | free extent ... |
//
// A slab serves one slot size while any of its slots is used, and goes back to the free extents
// when it is empty. With one block size the region holds exactly region / slot bytes slots. Never
// blocks, moves nothing. Thread-compatible: the owner's lock guards every call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/types/span.h"

namespace reprise::cachestore {

// Names a slot: its offset in the region in units of SlotPool::kUnitBytes.
using SlotIndex = uint32_t;
inline constexpr SlotIndex kNoSlot = 0xffffffff;

class SlotPool {
 public:
  // Slots start and end on multiples of this.
  static constexpr size_t kUnitBytes = 4096;

  // `region` starts on a multiple of kUnitBytes, is a multiple of it long and outlives the pool.
  explicit SlotPool(absl::Span<std::byte> region);

  // Bytes that a block of `block_bytes` takes in the region.
  static size_t SlotBytes(size_t block_bytes);

  // Whom a slot counts for; small numbers, chosen by the caller.
  using Owner = uint32_t;
  // A free slot for a block of `block_bytes` (> 0); nullopt when no extent has room.
  std::optional<SlotIndex> Allocate(size_t block_bytes, Owner owner = 0);
  // Whether Allocate would succeed.
  bool CanAllocate(size_t block_bytes) const;
  // REQUIRES: `slot` was allocated and not freed since.
  void Free(SlotIndex slot);

  // The whole slot; lives as long as the region.
  absl::Span<std::byte> SlotMemory(SlotIndex slot) const;
  // The used slots that lie in the way of a block of `block_bytes` around `slot` (which is used, of
  // another slot size): those of the slab that holds it and of as many neighbouring slabs as it
  // takes. Once they are free, Allocate finds room. Empty when slabs for such blocks, or the ends
  // of the region, leave no room around `slot`.
  std::vector<SlotIndex> SlotsInTheWay(SlotIndex slot, size_t block_bytes) const;
  // Walks over the slabs, one a call and round and round: a used slot of the first slab that starts
  // at unit `*cursor` or later, and moves the cursor behind it. kNoSlot when there are no slabs.
  SlotIndex NextSlab(uint32_t* cursor) const;
  size_t num_slabs() const { return slabs_.size(); }

  // Slots for blocks of `block_bytes` that an empty region holds.
  int64_t CapacitySlots(size_t block_bytes) const;
  int64_t capacity_bytes() const { return static_cast<int64_t>(region_.size()); }
  int64_t used_bytes() const { return BytesOf(used_units_); }
  int64_t used_slots() const { return used_slots_; }
  // Of used_bytes(), those of the slots of `owner`.
  int64_t used_bytes_of(Owner owner) const {
    return owner < accounts_.size() ? BytesOf(accounts_[owner].units) : 0;
  }
  // Owners are in groups; small numbers, 0 until the owner joins another. What it has goes along.
  void Join(Owner owner, uint32_t group);
  // The same of all owners of the group.
  int64_t used_bytes_of_group(uint32_t group) const {
    return group < group_units_.size() ? BytesOf(group_units_[group]) : 0;
  }

 private:
  static constexpr Owner kNobody = 0xffffffff;
  struct Slab {
    uint32_t slot_units = 0;
    uint32_t num_slots = 0;
    std::vector<uint32_t> free;  // numbers of free slots; the last one is taken next
    std::vector<Owner> owners;   // by number of the slot in the slab; kNobody: it is free
  };
  using SlabMap = std::map<uint32_t, Slab>;  // by first unit

  // What an owner has.
  struct Account {
    int64_t units = 0;
    uint32_t group = 0;
  };

  static int64_t BytesOf(int64_t units) { return units * static_cast<int64_t>(kUnitBytes); }
  static uint32_t SlotUnits(size_t block_bytes);
  Account& AccountOf(Owner owner);
  // Counts units that the owner takes, or gives back.
  void Count(Owner owner, int64_t units);
  // First unit of a new slab for slots of `slot_units`; nullopt when no extent has room for one.
  std::optional<uint32_t> CutSlab(uint32_t slot_units);
  void AddExtent(uint32_t begin, uint32_t length);
  void RemoveExtent(std::map<uint32_t, uint32_t>::iterator extent);
  // Adds free units, merged with the free ones next to them.
  void ReturnExtent(uint32_t begin, uint32_t length);
  uint32_t SlabUnits(const Slab& slab) const { return slab.num_slots * slab.slot_units; }
  SlabMap::const_iterator SlabOf(SlotIndex slot) const;

  const absl::Span<std::byte> region_;
  const uint32_t slab_units_;                                  // a slab is at most about this long
  std::map<uint32_t, uint32_t> extents_;                       // free extents: first unit -> length
  std::set<std::pair<uint32_t, uint32_t>> extents_by_length_;  // the same: (length, first unit)
  SlabMap slabs_;
  std::map<uint32_t, std::set<uint32_t>> open_;  // slot units -> slabs with a free slot
  int64_t used_units_ = 0;
  std::vector<Account> accounts_;           // by owner
  std::vector<int64_t> group_units_ = {0};  // by group
  int64_t used_slots_ = 0;
};

}  // namespace reprise::cachestore
