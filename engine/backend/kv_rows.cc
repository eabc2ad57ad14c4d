#include "engine/backend/kv_rows.h"

#include <cstring>

#include "cachestore/base/check.h"
#include "engine/backend/cpu_elementwise.h"
#include "engine/backend/cpu_parallel.h"

namespace reprise::engine {
namespace {

// out[i] = x[i] as `type`.
void Store(const float* x, int64_t count, ElementType type, std::byte* out) {
  switch (type) {
    case ElementType::kF32:
      std::memcpy(out, x, count * sizeof(float));
      return;
    case ElementType::kBF16:
      NarrowToBF16(x, count, reinterpret_cast<uint16_t*>(out));
      return;
    case ElementType::kF16:
      NarrowToF16(x, count, reinterpret_cast<uint16_t*>(out));
      return;
  }
}

}  // namespace

ElementType KvElementType(const cachestore::KvLayout& layout) {
  switch (layout.dtype) {
    case cachestore::DType::kF32:
      return ElementType::kF32;
    case cachestore::DType::kBF16:
      return ElementType::kBF16;
    default:
      CHECK(layout.dtype == cachestore::DType::kF16);
      return ElementType::kF16;
  }
}

void AppendKvRows(Activations k, Activations v, absl::Span<const SequenceRows> sequences,
                  const cachestore::KvLayout& layout, int32_t layer) {
  const int64_t cols = int64_t{layout.num_kv_heads} * layout.head_dim;
  CHECK(k.cols == cols && v.cols == cols && k.rows == v.rows);
  const ElementType type = KvElementType(layout);
  for (const SequenceRows& sequence : sequences) {
    CHECK(sequence.first_row >= 0 && sequence.first_row + sequence.num_rows <= k.rows);
    CHECK(sequence.start + sequence.num_rows <=
          static_cast<int64_t>(sequence.blocks.size()) * layout.block_tokens);
    const auto append = [&](int32_t head, KvPart part, const Activations& source, int64_t begin,
                            int64_t end) {
      const KvRows rows(sequence.blocks, layout, layer, part, head);
      for (int64_t r = begin; r < end; ++r) {
        const float* from = source.row(sequence.first_row + r) + head * int64_t{layout.head_dim};
        Store(from, layout.head_dim, type, rows.row(sequence.start + r));
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
