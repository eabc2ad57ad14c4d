// KvRows: where the rows of one head's keys or values lie in a sequence's blocks. The only code of
// the backend that does arithmetic on the block layout (cachestore/block/kv_layout.h).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"
#include "cachestore/block/kv_layout.h"
#include "engine/backend/backend.h"
#include "engine/backend/tensor.h"

namespace reprise::engine {

// Which of a block's two parts, as KvLayout::PartOffset numbers them.
enum class KvPart : int32_t { kKeys = 0, kValues = 1 };

// One head's rows of one part of one layer. Cheap to make; does not own the blocks. Thread-safe.
class KvRows {
 public:
  KvRows(absl::Span<std::byte* const> blocks, const cachestore::KvLayout& layout, int32_t layer,
         KvPart part, int32_t kv_head)
      : blocks_(blocks.data()),
        block_tokens_(layout.block_tokens),
        row_bytes_(static_cast<int64_t>(layout.RowBytes())),
        scales_bytes_(layout.ScalesPerRow() * int64_t{2}),
        offset_(layout.PartOffset(layer, static_cast<int32_t>(part)) +
                static_cast<size_t>(kv_head) * layout.block_tokens * row_bytes_),
        scales_offset_(layout.PartOffset(layer, static_cast<int32_t>(part)) +
                       layout.ScalesOffset() +
                       static_cast<size_t>(kv_head) * layout.block_tokens * scales_bytes_) {}

  // The head_dim elements of `position`.
  std::byte* row(int64_t position) const {
    return blocks_[position / block_tokens_] + offset_ + position % block_tokens_ * row_bytes_;
  }
  // Their scales. Not to be used when the layout has none.
  std::byte* scales(int64_t position) const {
    return blocks_[position / block_tokens_] + scales_offset_ +
           position % block_tokens_ * scales_bytes_;
  }

  int64_t row_bytes() const { return row_bytes_; }
  bool has_scales() const { return scales_bytes_ > 0; }

  // rows[i] = row(begin + i) and scales[i] = scales(begin + i), for i < count.
  void Locate(int64_t begin, int64_t count, const std::byte** rows,
              const std::byte** scales) const {
    int64_t block = begin / block_tokens_;
    int64_t token = begin % block_tokens_;
    for (int64_t i = 0; i < count; ++block, token = 0) {
      const std::byte* next = blocks_[block] + offset_ + token * row_bytes_;
      const std::byte* next_scales = blocks_[block] + scales_offset_ + token * scales_bytes_;
      const int64_t end = std::min(count, i + block_tokens_ - token);
      for (; i < end; ++i, next += row_bytes_, next_scales += scales_bytes_) {
        rows[i] = next;
        scales[i] = next_scales;
      }
    }
  }

 private:
  std::byte* const* blocks_;
  int64_t block_tokens_;
  int64_t row_bytes_;
  int64_t scales_bytes_;
  size_t offset_;
  size_t scales_offset_;
};

// Writes k and v ([rows, kv_heads x head_dim]) of each sequence's rows into its blocks at `layer`,
// on all threads: encodes 2 x rows x kv_heads rows of head_dim elements. Memory is the limit.
void AppendKvRows(Activations k, Activations v, absl::Span<const SequenceRows> sequences,
                  const cachestore::KvLayout& layout, int32_t layer);

}  // namespace reprise::engine
