// KeyTable: block key -> BlockId, the one probe of a match step. Open addressing with linear
// probing over 8-byte entries, so a lookup usually touches one cache line. Entries hold 32 bits of
// the key; the caller compares the full key (it must read the node in any case).
//
// Keys are hashes already, so their low bits place them. Erasing shifts entries back and leaves no
// tombstones. Thread-compatible.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "cachestore/base/huge_page_allocator.h"
#include "cachestore/block/block_id.h"
#include "cachestore/block/block_key.h"

namespace reprise::cachestore {

class KeyTable {
 public:
  KeyTable() : entries_(kMinEntries) {}

  // Starts loading the entries that Find(key) reads.
  void Prefetch(const BlockKey& key) const {
    __builtin_prefetch(&entries_[static_cast<uint32_t>(key.lo) & mask()]);
  }

  // The block with this key; kNoBlock when there is none. `key_of(id)` is the full key of an entry.
  template <typename KeyOf>
  BlockId Find(const BlockKey& key, KeyOf key_of) const {
    const uint32_t tag = static_cast<uint32_t>(key.lo);
    for (size_t at = tag & mask();; at = (at + 1) & mask()) {
      const Entry& entry = entries_[at];
      if (entry.id == kNoBlock) return kNoBlock;
      if (entry.tag == tag && key_of(entry.id) == key) return entry.id;
    }
  }

  // The first entry whose 32 bits fit; the caller must compare keys. For the window of a match.
  BlockId FindCandidate(const BlockKey& key) const {
    const uint32_t tag = static_cast<uint32_t>(key.lo);
    for (size_t at = tag & mask();; at = (at + 1) & mask()) {
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

 private:
  struct Entry {
    uint32_t tag = 0;  // low 32 bits of the key
    BlockId id = kNoBlock;
  };
  static constexpr size_t kMinEntries = 64;

  size_t mask() const { return entries_.size() - 1; }
  void Place(Entry entry);
  void Rehash(size_t num_entries);

  using Entries = std::vector<Entry, HugePageAllocator<Entry>>;
  Entries entries_;  // a power of two of them, at most 5/8 used
  size_t size_ = 0;
};

}  // namespace reprise::cachestore
