// KvRows: where the rows of one head's keys or values lie in a sequence's blocks. The only code of
// the backend that does arithmetic on the block layout ([layer][K, V][kv_head][token][head_dim]).
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

// The element type of KV in memory. REQUIRES: layout.dtype is f32, f16 or bf16.
ElementType KvElementType(const cachestore::KvLayout& layout);

// One head's rows of one part of one layer. Cheap to make; does not own the blocks. Thread-safe.
class KvRows {
 public:
  KvRows(absl::Span<std::byte* const> blocks, const cachestore::KvLayout& layout, int32_t layer,
         KvPart part, int32_t kv_head)
      : blocks_(blocks.data()),
        block_tokens_(layout.block_tokens),
        row_bytes_(layout.head_dim * ElementBytes(KvElementType(layout))),
        offset_(layout.PartOffset(layer, static_cast<int32_t>(part)) +
                static_cast<size_t>(kv_head) * layout.block_tokens * row_bytes_) {}

  // The head_dim elements of `position`.
  std::byte* row(int64_t position) const {
    return blocks_[position / block_tokens_] + offset_ + position % block_tokens_ * row_bytes_;
  }

  // rows[i] = row(begin + i) for i < count.
  template <typename T>
  void Locate(int64_t begin, int64_t count, const T** rows) const {
    int64_t block = begin / block_tokens_;
    int64_t token = begin % block_tokens_;
    for (int64_t i = 0; i < count; ++block, token = 0) {
      const std::byte* next = blocks_[block] + offset_ + token * row_bytes_;
      const int64_t end = std::min(count, i + block_tokens_ - token);
      for (; i < end; ++i, next += row_bytes_) rows[i] = reinterpret_cast<const T*>(next);
    }
  }

 private:
  std::byte* const* blocks_;
  int64_t block_tokens_;
  int64_t row_bytes_;
  size_t offset_;
};

// Backend::AppendKv on all threads. Writes 2 x rows x kv_heads x head_dim elements once; memory is
// the limit.
void AppendKvRows(Activations k, Activations v, absl::Span<const SequenceRows> sequences,
                  const cachestore::KvLayout& layout, int32_t layer);

}  // namespace reprise::engine
