#include "cachestore/index/node_arena.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>

#include "cachestore/base/check.h"

namespace reprise::cachestore {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kFirstChunkBytes = size_t{64} << 10;

}  // namespace

void NodeArena::FreeMemory::operator()(std::byte* memory) const { std::free(memory); }

BlockId NodeArena::Allocate(size_t bytes) {
  const uint32_t stride = static_cast<uint32_t>((bytes + kAlignment - 1) / kAlignment * kAlignment);
  Stride& nodes = strides_[stride];
  if (!nodes.free_ids.empty()) {
    const BlockId id = nodes.free_ids.back();
    nodes.free_ids.pop_back();
    return id;
  }
  if (nodes.open_chunk_bytes == 0 || chunks_[nodes.open_chunk].full()) AddChunk(stride);
  return first_id(nodes.open_chunk) + chunks_[nodes.open_chunk].num_handed_out++;
}

void NodeArena::Free(BlockId id) {
  strides_.at(chunks_[id >> kChunkBits].stride).free_ids.push_back(id);
}

void NodeArena::AddChunk(uint32_t stride) {
  CHECK(chunks_.size() < (kNoBlock >> kChunkBits));
  Stride& nodes = strides_[stride];
  const size_t bytes = std::min(std::max(kFirstChunkBytes, 2 * nodes.open_chunk_bytes), kHugePage);
  CHECK(stride <= bytes);
  auto* memory = static_cast<std::byte*>(std::aligned_alloc(bytes, bytes));
  CHECK(memory != nullptr);
  // Only a wish; without huge pages a match is slower and as right.
  if (bytes == kHugePage) (void)madvise(memory, bytes, MADV_HUGEPAGE);
  nodes.open_chunk = chunks_.size();
  nodes.open_chunk_bytes = bytes;
  memory_bytes_ += bytes;
  Chunk chunk;
  chunk.memory.reset(memory);
  chunk.stride = stride;
  chunk.num_places = static_cast<uint32_t>(std::min<size_t>(bytes / stride, kChunkMask + 1));
  chunks_.push_back(std::move(chunk));
}

}  // namespace reprise::cachestore
