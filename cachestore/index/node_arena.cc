#include "cachestore/index/node_arena.h"

#include <sys/mman.h>

#include <cstdlib>

#include "cachestore/base/check.h"

namespace reprise::cachestore {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;

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
  if (!nodes.has_chunk || chunks_[nodes.open_chunk].num_handed_out > kChunkMask) AddChunk(stride);
  return first_id(nodes.open_chunk) + chunks_[nodes.open_chunk].num_handed_out++;
}

void NodeArena::Free(BlockId id) {
  strides_.at(chunks_[id >> kChunkBits].stride).free_ids.push_back(id);
}

void NodeArena::AddChunk(uint32_t stride) {
  CHECK(chunks_.size() < (kNoBlock >> kChunkBits));
  const size_t bytes = (static_cast<size_t>(stride) << kChunkBits);
  const size_t rounded = (bytes + kHugePage - 1) / kHugePage * kHugePage;
  auto* memory = static_cast<std::byte*>(std::aligned_alloc(kHugePage, rounded));
  CHECK(memory != nullptr);
  // Only a wish; without huge pages a match is slower and as right.
  (void)madvise(memory, rounded, MADV_HUGEPAGE);
  Stride& nodes = strides_[stride];
  nodes.open_chunk = chunks_.size();
  nodes.has_chunk = true;
  Chunk chunk;
  chunk.memory.reset(memory);
  chunk.stride = stride;
  chunks_.push_back(std::move(chunk));
}

}  // namespace reprise::cachestore
