// SlotBitmap: which slots of one payload file are used. Thread-compatible.
#pragma once

#include <cstdint>
#include <vector>

namespace reprise::cachestore {

// Consecutive slots [first, first + count).
struct SlotRun {
  uint32_t first = 0;
  uint32_t count = 0;
};

class SlotBitmap {
 public:
  explicit SlotBitmap(uint32_t num_slots);

  uint32_t num_slots() const { return num_slots_; }
  uint32_t num_free() const { return num_free_; }

  bool used(uint32_t slot) const;
  // Marks one slot. REQUIRES: slot < num_slots() and the slot is free (Use) or used (Free).
  void Use(uint32_t slot);
  void Free(uint32_t slot);

  // Marks up to `wanted` consecutive free slots as used and returns them: the first run that is
  // long enough, otherwise the longest. count == 0 when nothing is free. REQUIRES: wanted > 0.
  SlotRun TakeRun(uint32_t wanted);

 private:
  // First slot at or after `from` that is used (or free); num_slots_ when there is none.
  uint32_t NextUsed(uint32_t from) const;
  uint32_t NextFree(uint32_t from) const;

  const uint32_t num_slots_;
  uint32_t num_free_;
  std::vector<uint64_t> words_;  // bit set: used; bits from num_slots_ on are set
};

}  // namespace reprise::cachestore
