// AttentionLoad: sequences with KV in blocks, and queries, shaped as in Qwen2.5-0.5B: 14 heads over
// 2 kv heads of 64 dims. Owns the memory. Thread-compatible.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "cachestore/block/kv_layout.h"
#include "cachestore/memory/host_arena.h"
#include "engine/backend/backend.h"

namespace reprise::bench {

class AttentionLoad {
 public:
  struct Shape {
    int64_t context = 0;  // positions of each sequence, all of them filled
    int64_t sequences = 1;
    int32_t layers = 1;
    int64_t rows = 1;  // queries of each sequence: its last `rows` positions
    cachestore::DType dtype = cachestore::DType::kF32;
  };

  static constexpr int64_t kHeads = 14;
  static constexpr int64_t kKvHeads = 2;
  static constexpr int64_t kHeadDim = 64;

  // Fills all blocks. kResourceExhausted: no memory. BLOCKS.
  static absl::StatusOr<std::unique_ptr<AttentionLoad>> Make(engine::Backend* backend,
                                                             const Shape& shape);

  // Attention of every layer; the sequences of a layer one after the other, or as one batch.
  void AttendOneByOne();
  void AttendTogether();

  // Bytes of KV that one pass over all layers reads, scales included.
  double KvBytes() const;
  // Operations that one pass needs: a multiply and an add for each element of a key or value that a
  // query sees, in each head.
  double Operations() const;

 private:
  AttentionLoad(engine::Backend* backend, const Shape& shape);
  void Fill();
  // `sequences` as a step of their own, whose first row is `first_row` of all queries.
  void Attend(absl::Span<const engine::SequenceRows> sequences, int64_t first_row);

  engine::Backend* const backend_;
  const Shape shape_;
  const cachestore::KvLayout layout_;
  std::unique_ptr<cachestore::HostArena> arena_;
  std::vector<std::vector<std::byte*>> blocks_;  // of each sequence
  std::vector<engine::SequenceRows> sequences_;
  std::vector<float> q_, out_;
};

}  // namespace reprise::bench
