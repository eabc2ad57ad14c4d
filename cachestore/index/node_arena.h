// NodeArena: the memory of index nodes. A node is a fixed header with the block's words right
// behind it, so that one step of a match reads one place, and never moves.
//
//     chunk (nodes of one stride):  | header, words | header, words | ...
//
// A BlockId is the number of a chunk and of a place in it, of which a chunk has at most 16384. A
// chunk takes at most 2 MiB, a huge page, because a match touches many of them at random; the first
// ones of a stride are smaller, so that a few nodes take little. Thread-compatible.
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
    const Chunk& chunk = chunks_[id >> kChunkBits];
    return chunk.memory.get() + static_cast<size_t>(id & kChunkMask) * chunk.stride;
  }

  // Every id ever handed out is in [first_id(chunk), end_id(chunk)) of some chunk.
  size_t num_chunks() const { return chunks_.size(); }
  size_t chunk_of(BlockId id) const { return id >> kChunkBits; }
  BlockId first_id(size_t chunk) const { return static_cast<BlockId>(chunk << kChunkBits); }
  BlockId end_id(size_t chunk) const { return first_id(chunk) + chunks_[chunk].num_handed_out; }
  // Bytes of all chunks.
  size_t memory_bytes() const { return memory_bytes_; }

 private:
  static constexpr int kChunkBits = 14;
  static constexpr BlockId kChunkMask = (1u << kChunkBits) - 1;

  struct FreeMemory {
    void operator()(std::byte* memory) const;
  };
  struct Chunk {
    std::unique_ptr<std::byte[], FreeMemory> memory;
    uint32_t stride = 0;
    uint32_t num_places = 0;
    uint32_t num_handed_out = 0;  // places from here on were never used
    bool full() const { return num_handed_out == num_places; }
  };
  // The nodes of one stride.
  struct Stride {
    std::vector<BlockId> free_ids;
    size_t open_chunk = 0;        // the chunk with places never used
    size_t open_chunk_bytes = 0;  // 0: there is no chunk yet
  };

  void AddChunk(uint32_t stride);

  std::vector<Chunk> chunks_;
  std::map<uint32_t, Stride> strides_;
  size_t memory_bytes_ = 0;
};

}  // namespace reprise::cachestore
