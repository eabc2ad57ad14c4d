// GhostTable: blocks that are not in the store, by key, and the groups that they are members of, so
// that the model learns when what was given up would have been used. Holds at most so many; a new
// one takes the place of the one that has been there the longest. A key is known by 64 of its bits:
// a mistake spoils one observation, never data. About 28 bytes a ghost. Thread-compatible.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/container/inlined_vector.h"
#include "absl/hash/hash.h"
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
  using Forgotten = absl::InlinedVector<Ghost, 3>;

  // At least one.
  explicit GhostTable(size_t capacity)
      : capacity_(capacity), serials_(0, Hash{this}, Equal{this}) {}
  GhostTable(const GhostTable&) = delete;
  GhostTable& operator=(const GhostTable&) = delete;
  void set_capacity(size_t capacity) { capacity_ = capacity; }

  // Valid until the next call that is not Find.
  Ghost* Find(const BlockKey& key);
  // Returns the ghosts that went for it: the oldest one, two where the capacity has shrunk, until
  // there are few enough; and the one that the key had.
  Forgotten Add(const BlockKey& key, const Ghost& ghost);
  // Takes it out of the table.
  std::optional<Ghost> Take(const BlockKey& key);

  size_t size() const { return serials_.size(); }

 private:
  // In two words, because one of 64 bits would pad what lies beside it.
  struct ShortKey {
    uint32_t high = 0;
    uint32_t low = 0;

    friend bool operator==(const ShortKey&, const ShortKey&) = default;
    template <typename H>
    friend H AbslHashValue(H state, const ShortKey& key) {
      return H::combine(std::move(state), uint64_t{key.high} << 32 | key.low);
    }
  };
  struct Place {
    ShortKey key;
    Ghost ghost;  // kNoGroup: it was taken out
  };
  static_assert(sizeof(Place) == 16);
  // Serials by the keys of their places.
  struct Hash {
    using is_transparent = void;
    size_t operator()(const ShortKey& key) const { return absl::HashOf(key); }
    size_t operator()(uint32_t serial) const { return absl::HashOf(table->At(serial).key); }
    const GhostTable* table;
  };
  struct Equal {
    using is_transparent = void;
    bool operator()(uint32_t serial, const ShortKey& key) const {
      return table->At(serial).key == key;
    }
    bool operator()(uint32_t a, uint32_t b) const { return (*this)(a, table->At(b).key); }
    const GhostTable* table;
  };

  static ShortKey ShortOf(const BlockKey& key) {
    return {static_cast<uint32_t>(key.lo >> 32), static_cast<uint32_t>(key.lo)};
  }
  const Place& At(uint32_t serial) const { return places_[serial - first_serial_]; }
  Place& At(uint32_t serial) { return places_[serial - first_serial_]; }

  size_t capacity_;
  std::deque<Place> places_;   // the one that has been there the longest first
  uint32_t first_serial_ = 0;  // of places_[0]; those behind it count on, and around
  absl::flat_hash_set<uint32_t, Hash, Equal> serials_;  // of places with a ghost
};

}  // namespace reprise::cachestore
