#include "engine/backend/cuda/decode_plan.h"

#include <algorithm>
#include <iterator>

#include "cachestore/base/check.h"

namespace reprise::engine::cuda {
namespace {

struct Tiles {
  int64_t begin = 0;
  int64_t end = 0;
  int64_t count() const { return end - begin; }
};

Tiles TilesOf(const AttentionRow& row, int32_t prefix, int32_t window) {
  CHECK(prefix >= 0 && prefix % kDecodeTile == 0 && row.length > prefix && window > 0);
  const int32_t first = std::max(prefix, row.length > window ? row.length - window : 0);
  return {first / kDecodeTile, (int64_t{row.length} + kDecodeTile - 1) / kDecodeTile};
}

// The tiles of each row.
std::vector<Tiles> TilesOf(absl::Span<const AttentionRow> rows, int32_t window,
                           absl::Span<const int32_t> prefixes) {
  CHECK(prefixes.empty() || prefixes.size() == rows.size());
  std::vector<Tiles> tiles(rows.size());
  for (size_t r = 0; r < rows.size(); ++r) {
    tiles[r] = TilesOf(rows[r], prefixes.empty() ? 0 : prefixes[r], window);
  }
  return tiles;
}

// Every block's share, in tiles: a row may begin in the middle of one, so kMaxPieces - 2 whole
// shares must hold it.
int64_t ShareOf(absl::Span<const Tiles> rows, int head_tiles, int num_blocks) {
  int64_t total = kSegmentCost * num_blocks;  // each cut makes one segment more
  int64_t longest = 0;
  for (const Tiles& tiles : rows) {
    total += head_tiles * (tiles.count() + kSegmentCost);
    longest = std::max(longest, tiles.count());
  }
  const int64_t least = kSegmentCost + (longest + kMaxPieces - 3) / (kMaxPieces - 2);
  return std::max((total + num_blocks - 1) / num_blocks, least);
}

}  // namespace

DecodePlan PlanDecode(absl::Span<const AttentionRow> rows, int head_tiles, int32_t window,
                      int num_blocks, absl::Span<const int32_t> prefixes) {
  CHECK(head_tiles > 0 && num_blocks > 0);
  const std::vector<Tiles> row_tiles = TilesOf(rows, window, prefixes);
  const int64_t share = ShareOf(row_tiles, head_tiles, num_blocks);
  DecodePlan plan;
  plan.first_segment = {0};
  int64_t left = share;
  const auto next_block = [&] {
    plan.first_segment.push_back(static_cast<int32_t>(plan.segments.size()));
    left = share;
  };
  for (size_t r = 0; r < rows.size(); ++r) {
    const Tiles& tiles = row_tiles[r];
    for (int head_tile = 0; head_tile < head_tiles; ++head_tile) {
      const size_t first = plan.segments.size();
      for (int64_t tile = tiles.begin; tile < tiles.end;) {
        if (left <= kSegmentCost) next_block();
        const int64_t count = std::min(tiles.end - tile, left - kSegmentCost);
        DecodeSegment segment;
        segment.row = static_cast<int32_t>(r);
        segment.head_tile = head_tile;
        segment.tile_begin = static_cast<int32_t>(tile);
        segment.tile_end = static_cast<int32_t>(tile + count);
        segment.piece = static_cast<int32_t>(plan.segments.size() - first);
        segment.first_state = static_cast<int32_t>(plan.num_states);
        plan.segments.push_back(segment);
        left -= count + kSegmentCost;
        tile += count;
      }
      const auto pieces = static_cast<int32_t>(plan.segments.size() - first);
      for (size_t i = first; i < plan.segments.size(); ++i) plan.segments[i].pieces = pieces;
      if (pieces > 1) plan.num_states += pieces;
    }
  }
  while (static_cast<int>(plan.first_segment.size()) <= num_blocks) next_block();
  CHECK(static_cast<int>(plan.first_segment.size()) == num_blocks + 1);
  // Each block but the last cuts one.
  plan.most_segments = static_cast<int64_t>(rows.size()) * head_tiles + num_blocks;
  CHECK(std::ssize(plan.segments) <= plan.most_segments);
  return plan;
}

}  // namespace reprise::engine::cuda
