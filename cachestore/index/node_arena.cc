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
  if (nodes.open_range < nodes.end_range && ranges_[nodes.open_range].full()) ++nodes.open_range;
  if (nodes.open_range == nodes.end_range) AddChunk(stride, &nodes);
  return first_id(nodes.open_range) + ranges_[nodes.open_range].num_handed_out++;
}

void NodeArena::Free(BlockId id) {
  strides_.at(ranges_[range_of(id)].stride).free_ids.push_back(id);
}

void NodeArena::AddChunk(uint32_t stride, Stride* nodes) {
  const size_t bytes = std::min(std::max(kFirstChunkBytes, 2 * nodes->chunk_bytes), kHugePage);
  CHECK(stride <= bytes);
  auto* memory = static_cast<std::byte*>(std::aligned_alloc(bytes, bytes));
  CHECK(memory != nullptr);
  // Only a wish; without huge pages a match is slower and as right.
  if (bytes == kHugePage) (void)madvise(memory, bytes, MADV_HUGEPAGE);
  chunks_.emplace_back(memory);
  memory_bytes_ += bytes;
  nodes->chunk_bytes = bytes;
  nodes->open_range = ranges_.size();
  for (size_t place = 0, end = bytes / stride; place < end; place += kRangeIds) {
    CHECK(ranges_.size() < kNoBlock / kRangeIds);
    const auto num_places = static_cast<uint16_t>(std::min<size_t>(end - place, kRangeIds));
    ranges_.push_back(
        {.memory = memory + place * stride, .stride = stride, .num_places = num_places});
  }
  nodes->end_range = ranges_.size();
}

}  // namespace reprise::cachestore
