#include "cachestore/index/key_table.h"

#include <algorithm>

#include "cachestore/base/check.h"

namespace reprise::cachestore {
namespace {

// A tag has 32 bits, so more entries would not be reached.
constexpr size_t kMaxEntries = size_t{1} << 32;

bool TooFull(size_t used, size_t entries) { return used * 8 > entries * 5; }

}  // namespace

void KeyTable::Insert(const BlockKey& key, BlockId id) {
  if (TooFull(size_ + 1, entries_.size())) Rehash(entries_.size() * 2);
  Place({static_cast<uint32_t>(key.lo), id});
  ++size_;
}

void KeyTable::Erase(const BlockKey& key, BlockId id) {
  size_t hole = Home(static_cast<uint32_t>(key.lo));
  while (entries_[hole].id != id) {
    CHECK(entries_[hole].id != kNoBlock);
    hole = (hole + 1) & mask();
  }
  // Moves later entries of the run back, unless that would put one before its home.
  for (size_t at = (hole + 1) & mask(); entries_[at].id != kNoBlock; at = (at + 1) & mask()) {
    const size_t home = Home(entries_[at].tag);
    if (((at - home) & mask()) < ((at - hole) & mask())) continue;
    entries_[hole] = entries_[at];
    hole = at;
  }
  entries_[hole] = {};
  --size_;
}

void KeyTable::Reserve(size_t count) {
  size_t entries = entries_.size();
  while (TooFull(count, entries) && entries < kMaxEntries) entries *= 2;
  if (entries > entries_.size()) Rehash(entries);
}

uint64_t KeyTable::VisitSome(uint64_t from, size_t count,
                             absl::FunctionRef<void(BlockId)> visit) const {
  if (from >= kEnd) return kEnd;
  const size_t first = Home(static_cast<uint32_t>(from));
  for (size_t at = first;; ++at) {
    const Entry& entry = entries_[at & mask()];
    const bool past_end = at >= entries_.size();
    if (entry.id == kNoBlock) {
      if (past_end) return kEnd;
      // What has its home before a gap lies before it: all of it was visited.
      if (at - first >= count) return uint64_t{at} << shift_;
      continue;
    }
    // The last run may go on at the beginning of the table.
    const bool is_wrapped = Home(entry.tag) > (at & mask());
    if (is_wrapped == past_end && entry.tag >= from) visit(entry.id);
  }
}

void KeyTable::Place(Entry entry) {
  size_t at = Home(entry.tag);
  while (entries_[at].id != kNoBlock) at = (at + 1) & mask();
  entries_[at] = entry;
}

void KeyTable::Rehash(size_t num_entries) {
  CHECK(num_entries <= kMaxEntries);
  Entries old(num_entries);
  old.swap(entries_);
  shift_ = ShiftFor(num_entries);
  for (const Entry& entry : old) {
    if (entry.id != kNoBlock) Place(entry);
  }
}

}  // namespace reprise::cachestore
