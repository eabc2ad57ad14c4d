#include "engine/backend/cuda/step_upload.h"

#include <algorithm>
#include <iterator>

#include "cachestore/base/check.h"
#include "cachestore/base/status_macros.h"
#include "engine/backend/cuda/kv_description.h"

namespace reprise::engine::cuda {

uint32_t StepUpload::UnitOf(const std::byte* block) const {
  const std::ptrdiff_t offset = block - arena_.data();
  CHECK(offset >= 0 && offset % kBlockUnit == 0 && offset + block_bytes_ <= std::ssize(arena_));
  return static_cast<uint32_t>(offset / kBlockUnit);
}

void StepUpload::Describe(const StepInput& step) {
  const int64_t block_tokens = layout_.block_tokens;
  const auto blocks_of = [&](const SequenceRows& sequence) {
    return static_cast<int32_t>((sequence.start + sequence.num_rows + block_tokens - 1) /
                                block_tokens);
  };
  table_stride_ = 1;
  for (const SequenceRows& sequence : step.sequences) {
    table_stride_ = std::max(table_stride_, blocks_of(sequence));
  }
  all_ = {};
  kept_ = {};
  // No place at all where a sequence has no block.
  host_table_.assign(step.sequences.size() * table_stride_, UINT32_MAX);
  for (size_t s = 0; s < step.sequences.size(); ++s) {
    const SequenceRows& sequence = step.sequences[s];
    const auto index = static_cast<int32_t>(s);
    const auto start = static_cast<int32_t>(sequence.start);
    const auto num_rows = static_cast<int32_t>(sequence.num_rows);
    CHECK(sequence.first_row == std::ssize(all_.rows));
    all_.sequences.push_back({static_cast<int32_t>(sequence.first_row), num_rows, index, start});
    for (int32_t r = 0; r < num_rows; ++r) all_.rows.push_back({index, start + r + 1});
    for (int32_t b = 0; b < blocks_of(sequence); ++b) {
      host_table_[s * table_stride_ + b] = UnitOf(sequence.blocks[b]);
    }
  }
  for (const int64_t row : step.kept_rows) {
    const AttentionRow& kept = all_.rows[row];
    const auto place = static_cast<int32_t>(kept_.rows.size());
    kept_.sequences.push_back({place, 1, kept.sequence, kept.length - 1});
    kept_.rows.push_back(kept);
  }
}

absl::Status StepUpload::Begin(const StepInput& step) {
  layout_ = step.layout;
  block_bytes_ = static_cast<int64_t>(layout_.BytesPerBlock());
  Describe(step);
  CHECK(std::ssize(all_.rows) == step.num_rows());
  host_ids_.assign(step.ids.begin(), step.ids.end());
  ListPositions(step.sequences, &host_positions_);
  const size_t rows = all_.rows.size();
  RETURN_IF_ERROR(buffer_.Begin(2 * UploadBuffer::RoomFor<int32_t>(rows) +
                                UploadBuffer::RoomFor<AttentionRow>(rows) +
                                UploadBuffer::RoomFor<AttentionRow>(kept_.rows.size()) +
                                UploadBuffer::RoomFor<uint32_t>(host_table_.size())));
  ids_ = buffer_.Put(absl::MakeConstSpan(host_ids_));
  positions_ = buffer_.Put(absl::MakeConstSpan(host_positions_));
  all_.on_device = buffer_.Put(absl::MakeConstSpan(all_.rows));
  kept_.on_device = buffer_.Put(absl::MakeConstSpan(kept_.rows));
  table_ = buffer_.Put(absl::MakeConstSpan(host_table_));
  return buffer_.Send();
}

PagedKv StepUpload::kv(int32_t layer) const {
  return DescribeKv(layout_, layer, reinterpret_cast<uint8_t*>(arena_.data()), table_,
                    table_stride_);
}

}  // namespace reprise::engine::cuda
