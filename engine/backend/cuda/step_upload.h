// StepUpload: what a step runs over, in a device's memory: tokens, positions, and where each row's
// KV lies. One copy a step. Thread-compatible.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "engine/backend/backend.h"
#include "engine/backend/cuda/kernels/launch_types.h"
#include "engine/backend/cuda/prefill_plan.h"
#include "engine/backend/cuda/upload_buffer.h"
#include "engine/backend/step_input.h"

namespace reprise::engine::cuda {

// The rows of a step, or those that it keeps, as the host plans for them and the device reads them.
struct UploadedRows {
  std::vector<AttentionRow> rows;
  std::vector<PrefillRows> sequences;       // the same rows, sequence by sequence
  const AttentionRow* on_device = nullptr;  // [rows]
};

class StepUpload {
 public:
  // `device` must outlive it.
  explicit StepUpload(cachestore::Device* device) : buffer_(device) {}

  // Uploads `step`. Errors are UploadBuffer's. REQUIRES: the blocks of all steps lie in one arena
  // of less than 16 TiB, at multiples of kBlockUnit.
  absl::Status Begin(const StepInput& step);

  // Of the step that was begun last.
  const cachestore::KvLayout& layout() const { return layout_; }
  const UploadedRows& rows(StepRows which) const { return which == StepRows::kAll ? all_ : kept_; }
  const int32_t* ids() const { return ids_; }              // [rows]
  const int32_t* positions() const { return positions_; }  // [rows]
  PagedKv kv(int32_t layer) const;
  // From kv's arena to behind the step's last block.
  int64_t arena_bytes() const { return arena_bytes_; }
  // The host's copy of the table of blocks [sequences][table_stride()].
  const uint32_t* host_table() const { return host_table_.data(); }
  // A power of two: the step's places on the device are those of the step before as long as it has
  // as many rows and the same stride, and the buffer did not grow.
  int32_t table_stride() const { return table_stride_; }

 private:
  void ListRows(const StepInput& step);
  void ListBlocks(const StepInput& step);

  UploadBuffer buffer_;
  cachestore::KvLayout layout_;
  std::byte* base_ = nullptr;  // the lowest block of all steps so far
  int64_t arena_bytes_ = 0;
  UploadedRows all_;
  UploadedRows kept_;
  std::vector<int32_t> host_ids_;
  std::vector<int32_t> host_positions_;
  std::vector<uint32_t> host_table_;  // [sequences][table_stride_]
  int32_t table_stride_ = 0;
  const int32_t* ids_ = nullptr;
  const int32_t* positions_ = nullptr;
  const uint32_t* table_ = nullptr;
};

}  // namespace reprise::engine::cuda
