// NodeArena: the memory of index nodes. A node is a fixed header with the block's words right
// behind it, so that one step of a match reads one place, and never moves.
//
//     chunk (nodes of one stride):  | header, words | header, words | ...
//
// A BlockId is the number of a range and of one of the 1024 places in it; the places of a chunk are
// as many ranges as they fill. Ids are therefore dense, whatever the stride, and arrays by BlockId
// small. A chunk takes at most 2 MiB, a huge page, because a match touches many of them at random;
// the first ones of a stride are smaller, so that a few nodes take little. Thread-compatible.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "cachestore/block/block_id.h"

namespace reprise::cachestore {

class NodeArena {
 public:
  // Every place starts on a multiple of this, a cache line.
  static constexpr size_t kAlignment = 64;

  // Memory for a node of `bytes` (header and words), at most 2 MiB; contents undefined. The ids
  // of freed nodes of the same size are used again.
  BlockId Allocate(size_t bytes);
  // REQUIRES: `id` was allocated and not freed since.
  void Free(BlockId id);

  std::byte* at(BlockId id) const {
    const Range& range = ranges_[range_of(id)];
    return range.memory + static_cast<size_t>(id % kRangeIds) * range.stride;
  }

  // Every id ever handed out is in [first_id(range), end_id(range)) of some range.
  size_t num_ranges() const { return ranges_.size(); }
  size_t range_of(BlockId id) const { return id / kRangeIds; }
  BlockId first_id(size_t range) const { return static_cast<BlockId>(range * kRangeIds); }
  BlockId end_id(size_t range) const { return first_id(range) + ranges_[range].num_handed_out; }
  // Bytes of all chunks.
  size_t memory_bytes() const { return memory_bytes_; }

 private:
  // Of a range. More would leave more ids unused at the end of a chunk, fewer would make the table
  // of ranges, which each step of a match reads, larger.
  static constexpr BlockId kRangeIds = 1024;

  struct FreeMemory {
    void operator()(std::byte* memory) const;
  };
  struct Range {
    std::byte* memory = nullptr;  // of its first place, in a chunk
    uint32_t stride = 0;
    uint16_t num_places = 0;
    uint16_t num_handed_out = 0;  // places from here on were never used
    bool full() const { return num_handed_out == num_places; }
  };
  static_assert(sizeof(Range) == 16);  // a million blocks' lie in a first cache
  // The nodes of one stride.
  struct Stride {
    std::vector<BlockId> free_ids;
    size_t open_range = 0;   // the first of the last chunk's that may have places never used
    size_t end_range = 0;    // of the last chunk
    size_t chunk_bytes = 0;  // of the last chunk; 0: there is none yet
  };

  // A chunk for more nodes of `stride`, and its ranges.
  void AddChunk(uint32_t stride, Stride* nodes);

  std::vector<std::unique_ptr<std::byte[], FreeMemory>> chunks_;
  std::vector<Range> ranges_;
  std::map<uint32_t, Stride> strides_;
  size_t memory_bytes_ = 0;
};

}  // namespace reprise::cachestore
