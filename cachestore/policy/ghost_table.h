// GhostTable: blocks that are not in the store, by key, and the groups that they are members of, so
// that the model learns when what was given up would have been used. Holds at most so many; a new
// one takes the place of the one that has been there the longest. A key is known by 64 of its bits:
// a mistake spoils one observation, never data. Thread-compatible.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>

#include "absl/container/flat_hash_map.h"
#include "absl/container/inlined_vector.h"
#include "cachestore/block/block_key.h"
#include "cachestore/policy/request_book.h"

namespace reprise::cachestore {

struct Ghost {
  GroupId group = kNoGroup;
  uint16_t uses = 0;   // requests that used the block
  uint16_t since = 0;  // the turn of its conversation in which it came
};

class GhostTable {
 public:
  // At least one.
  explicit GhostTable(size_t capacity) : capacity_(capacity) {}
  void set_capacity(size_t capacity) { capacity_ = capacity; }

  // Valid until the next call that is not Find.
  Ghost* Find(const BlockKey& key);
  // REQUIRES: the key has none. Returns the ghosts that went for it: where the capacity has shrunk,
  // two, until there are few enough.
  absl::InlinedVector<Ghost, 2> Add(const BlockKey& key, const Ghost& ghost);
  // Takes it out of the table.
  std::optional<Ghost> Take(const BlockKey& key);

  size_t size() const { return ghosts_.size(); }

 private:
  // In two words, because one of 64 bits would pad what lies beside it.
  using ShortKey = std::array<uint32_t, 2>;
  struct Entry {
    Ghost ghost;
    uint32_t serial = 0;  // that of its place in order_
  };
  struct Place {
    ShortKey key = {};
    uint32_t serial = 0;
  };

  static ShortKey ShortOf(const BlockKey& key) {
    return {static_cast<uint32_t>(key.lo >> 32), static_cast<uint32_t>(key.lo)};
  }

  size_t capacity_;
  uint32_t next_serial_ = 0;
  absl::flat_hash_map<ShortKey, Entry> ghosts_;
  std::deque<Place> order_;  // those that were taken out meanwhile have another serial, or are gone
};

}  // namespace reprise::cachestore
