// KeyTable: block key -> BlockId, the one probe of a match step. Open addressing with linear
// probing over 8-byte entries, so a lookup usually touches one cache line. Entries hold 32 bits of
// the key; the caller compares the full key (it must read the node in any case).
//
// Keys are hashes already, so these 32 bits place them, the highest first: then the order of the
// entries is that of the tags, whatever the size of the table, and a walk over it (VisitSome) keeps
// its place while keys come and go and the table grows. Erasing shifts entries back and leaves no
// tombstones. Thread-compatible.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "cachestore/base/huge_page_allocator.h"
#include "cachestore/block/block_id.h"
#include "cachestore/block/block_key.h"

namespace reprise::cachestore {

class KeyTable {
 public:
  KeyTable() : entries_(kMinEntries) {}

  // Starts loading the entries that Find(key) reads.
  void Prefetch(const BlockKey& key) const {
    __builtin_prefetch(&entries_[Home(static_cast<uint32_t>(key.lo))]);
  }

  // The block with this key; kNoBlock when there is none. `key_of(id)` is the full key of an entry.
  template <typename KeyOf>
  BlockId Find(const BlockKey& key, KeyOf key_of) const {
    const uint32_t tag = static_cast<uint32_t>(key.lo);
    for (size_t at = Home(tag);; at = (at + 1) & mask()) {
      const Entry& entry = entries_[at];
      if (entry.id == kNoBlock) return kNoBlock;
      if (entry.tag == tag && key_of(entry.id) == key) return entry.id;
    }
  }

  // The first entry whose 32 bits fit; the caller must compare keys. For the window of a match.
  BlockId FindCandidate(const BlockKey& key) const {
    const uint32_t tag = static_cast<uint32_t>(key.lo);
    for (size_t at = Home(tag);; at = (at + 1) & mask()) {
      const Entry& entry = entries_[at];
      if (entry.id == kNoBlock || entry.tag == tag) return entry.id;
    }
  }

  // REQUIRES: the key is not in the table.
  void Insert(const BlockKey& key, BlockId id);
  // REQUIRES: `id` was inserted with `key`.
  void Erase(const BlockKey& key, BlockId id);
  // Makes room for `count` keys in all, so that inserting them does not rehash.
  void Reserve(size_t count);
  size_t size() const { return size_; }

  // A walk: calls `visit` for the keys from place `from` on, looking at about `count` entries, and
  // returns the place where to go on, kEnd after the last one. It begins at place 0. A key that is
  // there all the while is visited once; one that comes or goes meanwhile, also again and again, at
  // most once. `visit` must not change the table.
  static constexpr uint64_t kEnd = uint64_t{1} << 32;
  uint64_t VisitSome(uint64_t from, size_t count, absl::FunctionRef<void(BlockId)> visit) const;

 private:
  struct Entry {
    uint32_t tag = 0;  // low 32 bits of the key
    BlockId id = kNoBlock;
  };
  static constexpr size_t kMinEntries = 64;

  static constexpr int ShiftFor(size_t num_entries) { return 32 - std::countr_zero(num_entries); }

  size_t mask() const { return entries_.size() - 1; }
  // Where the search for a tag begins.
  size_t Home(uint32_t tag) const { return tag >> shift_; }
  void Place(Entry entry);
  void Rehash(size_t num_entries);

  using Entries = std::vector<Entry, HugePageAllocator<Entry>>;
  Entries entries_;  // a power of two of them, at most 5/8 used
  int shift_ = ShiftFor(kMinEntries);
  size_t size_ = 0;
};

}  // namespace reprise::cachestore
