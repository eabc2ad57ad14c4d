#include "engine/backend/kv_rows.h"

#include "cachestore/base/check.h"
#include "engine/backend/cpu_parallel.h"
#include "engine/backend/kv_codec.h"
#include "engine/backend/kv_format.h"

namespace reprise::engine {
void AppendKvRows(Activations k, Activations v, absl::Span<const SequenceRows> sequences,
                  const cachestore::KvLayout& layout, int32_t layer) {
  const int64_t cols = int64_t{layout.num_kv_heads} * layout.head_dim;
  CHECK(k.cols == cols && v.cols == cols && k.rows == v.rows);
  CHECK(layout == WithDType(layout, layout.dtype));
  for (const SequenceRows& sequence : sequences) {
    CHECK(sequence.first_row >= 0 && sequence.first_row + sequence.num_rows <= k.rows);
    CHECK(sequence.start + sequence.num_rows <=
          static_cast<int64_t>(sequence.blocks.size()) * layout.block_tokens);
    const auto append = [&](int32_t head, KvPart part, const Activations& source, int64_t begin,
                            int64_t end) {
      const KvRows rows(sequence.blocks, layout, layer, part, head);
      for (int64_t r = begin; r < end; ++r) {
        const float* from = source.row(sequence.first_row + r) + head * int64_t{layout.head_dim};
        EncodeKvRow(layout.dtype, from, layout.head_dim, rows.row(sequence.start + r),
                    rows.scales(sequence.start + r));
      }
    };
    ParallelRanges(sequence.num_rows, 2 * cols, 64 * 1024, [&](int, int64_t begin, int64_t end) {
      for (int32_t head = 0; head < layout.num_kv_heads; ++head) {
        append(head, KvPart::kKeys, k, begin, end);
        append(head, KvPart::kValues, v, begin, end);
      }
    });
  }
}

}  // namespace reprise::engine
