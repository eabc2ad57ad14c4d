// TileAhead: the encoded rows of a task's next tile, which memory brings while this one is
// computed. The blocks of a sequence lie anywhere, so the CPU cannot guess where it goes on.
// Kernels ask for a line now and then between their operations, evenly over the tile: only so many
// lines can be under way at once, and what asks for more waits. Compiled for every vector target
// alike.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "engine/backend/attention_task.h"
#include "hwy/base.h"
#include "hwy/cache_control.h"

namespace reprise::engine {

class TileAhead {
 public:
  // Sets it to the tile at position `begin`, which may be the task's end.
  void Locate(const AttentionTask& task, int64_t begin) {
    const int64_t count = std::min(kAttentionTile, task.end() - begin);
    row_ = 0;
    at_ = 0;
    count_ = 2 * count;
    row_bytes_ = task.keys.row_bytes();
    const std::byte* scales[kAttentionTile] = {};
    for (const KvRows* part : {&task.keys, &task.values}) {
      part->Locate(begin, count, part == &task.keys ? rows_ : rows_ + count, scales);
      if (!part->has_scales()) continue;
      for (int64_t t = 0; t < count; ++t) hwy::Prefetch(scales[t]);
    }
  }

  // Fetches one more line, keys before values; nothing when all are fetched.
  HWY_INLINE void FetchLine() {
    if (row_ == count_) return;
    hwy::Prefetch(rows_[row_] + at_);
    at_ += kLineBytes;
    if (at_ < row_bytes_) return;
    at_ = 0;
    ++row_;
  }

 private:
  static constexpr int64_t kLineBytes = 64;

  const std::byte* rows_[2 * kAttentionTile];
  int64_t row_ = 0;  // the row that comes next, and how much of it is fetched
  int64_t at_ = 0;
  int64_t count_ = 0;
  int64_t row_bytes_ = 0;
};

}  // namespace reprise::engine
