#include "cachestore/tier/slot_bitmap.h"

#include <algorithm>
#include <bit>

#include "cachestore/base/check.h"

namespace reprise::cachestore {
namespace {

constexpr uint32_t kWordBits = 64;

// First set bit at or after `from` of the bits that `word_at(i)` gives, or `end`.
template <typename WordAt>
uint32_t NextSet(uint32_t from, uint32_t end, WordAt word_at) {
  while (from < end) {
    const uint64_t rest = word_at(from / kWordBits) >> (from % kWordBits);
    if (rest != 0) return std::min(end, from + static_cast<uint32_t>(std::countr_zero(rest)));
    from = (from / kWordBits + 1) * kWordBits;
  }
  return end;
}

}  // namespace

SlotBitmap::SlotBitmap(uint32_t num_slots)
    : num_slots_(num_slots),
      num_free_(num_slots),
      words_((uint64_t{num_slots} + kWordBits - 1) / kWordBits) {
  if (num_slots % kWordBits != 0) words_.back() = ~uint64_t{0} << (num_slots % kWordBits);
}

bool SlotBitmap::used(uint32_t slot) const {
  CHECK(slot < num_slots_);
  return (words_[slot / kWordBits] >> (slot % kWordBits) & 1) != 0;
}

void SlotBitmap::Use(uint32_t slot) {
  CHECK(!used(slot));
  words_[slot / kWordBits] |= uint64_t{1} << (slot % kWordBits);
  --num_free_;
}

void SlotBitmap::Free(uint32_t slot) {
  CHECK(used(slot));
  words_[slot / kWordBits] &= ~(uint64_t{1} << (slot % kWordBits));
  ++num_free_;
}

uint32_t SlotBitmap::NextUsed(uint32_t from) const {
  return NextSet(from, num_slots_, [this](uint32_t word) { return words_[word]; });
}

uint32_t SlotBitmap::NextFree(uint32_t from) const {
  return NextSet(from, num_slots_, [this](uint32_t word) { return ~words_[word]; });
}

SlotRun SlotBitmap::TakeRun(uint32_t wanted) {
  CHECK(wanted > 0);
  SlotRun best;
  for (uint32_t first = NextFree(0); first < num_slots_ && best.count < wanted;) {
    const uint32_t end = NextUsed(first);
    if (end - first > best.count) best = {first, end - first};
    first = NextFree(end);
  }
  best.count = std::min(best.count, wanted);
  for (uint32_t i = 0; i < best.count; ++i) Use(best.first + i);
  return best;
}

}  // namespace reprise::cachestore
