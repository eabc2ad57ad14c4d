// PagedBatch: sequences whose random KV the CPU backend wrote into blocks of an arena, in the
// places of a block table, and what its attention over them gives.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cachestore/block/kv_layout.h"
#include "engine/backend/backend.h"
#include "engine/backend/cuda/kernels/launch_types.h"
#include "engine/backend/cuda/kv_description.h"
#include "engine/backend/cuda/prefill_plan.h"
#include "engine/backend/kv_format.h"
#include "engine/backend/kv_rows.h"
#include "gtest/gtest.h"

namespace reprise::engine::cuda {

struct PagedShape {
  int heads = 4;
  int kv_heads = 2;
  int head_dim = 64;
  int block_tokens = 16;
  cachestore::DType dtype = cachestore::DType::kBF16;
  int window = 0;     // 0: none
  float softcap = 0;  // likewise

  std::string Name() const {
    return absl::StrCat(cachestore::DTypeName(dtype), " heads ", heads, "/", kv_heads, " dim ",
                        head_dim, " block ", block_tokens, " window ", window);
  }
};

// Sequence i has `start` tokens, and `num_rows` more, which are rows of the batch. Its first
// `shared` tokens, whole blocks, are those of `sharer`, a sequence before it.
struct PagedSequence {
  int start = 0;
  int num_rows = 1;
  int sharer = 0;
  int shared = 0;
};

class PagedBatch {
 public:
  static constexpr int32_t kLayer = 1;  // the one that has KV

  // `seed`: of all its random numbers.
  PagedBatch(const PagedShape& shape, std::vector<PagedSequence> sequences, uint32_t seed = 7)
      : shape_(shape), sequences_(std::move(sequences)), backend_(NewCpuBackend(1)), random_(seed) {
    layout_.num_layers = 2;
    layout_.num_kv_heads = shape.kv_heads;
    layout_.head_dim = shape.head_dim;
    layout_.block_tokens = shape.block_tokens;
    layout_ = WithDType(layout_, shape.dtype);
    PlaceBlocks();
    WriteKv();
    for (size_t i = 0; i < sequences_.size(); ++i) {
      for (int r = 0; r < sequences_[i].num_rows; ++r) {
        rows_.push_back({static_cast<int32_t>(i), sequences_[i].start + r + 1});
      }
    }
    q_ = Random(rows_.size() * shape.heads * shape.head_dim);
  }

  const PagedShape& shape() const { return shape_; }
  const cachestore::KvLayout& layout() const { return layout_; }
  const std::vector<AttentionRow>& rows() const { return rows_; }
  const std::vector<PagedSequence>& sequences() const { return sequences_; }
  const std::vector<float>& q() const { return q_; }
  int32_t window() const { return shape_.window > 0 ? shape_.window : kNoWindow; }
  float scale() const { return 1.0f / std::sqrt(static_cast<float>(shape_.head_dim)); }
  float scale_log2() const { return scale() * 1.44269504f; }
  PagedKv kv() const { return DescribeKv(layout_, kLayer, arena_, table_.data(), table_stride_); }
  // The memory that kv() is about, from its arena's start on, and its table.
  std::vector<uint8_t> arena() const { return {arena_, arena_ + arena_bytes_}; }
  const std::vector<uint32_t>& table() const { return table_; }
  int32_t table_stride() const { return table_stride_; }
  // As backends take them.
  std::vector<SequenceRows> BatchRows() const {
    std::vector<SequenceRows> batch;
    int64_t first_row = 0;
    for (size_t i = 0; i < sequences_.size(); ++i) {
      batch.push_back({first_row, sequences_[i].num_rows, sequences_[i].start, blocks_[i]});
      first_row += sequences_[i].num_rows;
    }
    return batch;
  }
  // The rows, sequence by sequence, as PlanPrefill takes them.
  std::vector<PrefillRows> prefill_rows() const {
    std::vector<PrefillRows> rows;
    int32_t first_row = 0;
    for (size_t i = 0; i < sequences_.size(); ++i) {
      const PagedSequence& s = sequences_[i];
      rows.push_back({first_row, s.num_rows, static_cast<int32_t>(i), s.start});
      first_row += s.num_rows;
    }
    return rows;
  }
  // The largest error that an attention kernel on tensor cores may have: of the roundings of q, and
  // of 2^(s - m), to the type that they are multiplied in.
  double tolerance() const {
    return shape_.dtype == cachestore::DType::kBF16 || shape_.dtype == cachestore::DType::kInt8
               ? 1e-2
               : 2e-3;
  }
  std::vector<float> PoisonedOut() const {
    return std::vector<float>(q_.size(), std::numeric_limits<float>::quiet_NaN());
  }

  // Attention of the CPU backend over the same bytes.
  std::vector<float> Expected() {
    std::vector<float> out = PoisonedOut();
    const auto rows = static_cast<int64_t>(rows_.size());
    const int64_t cols = int64_t{shape_.heads} * shape_.head_dim;
    const std::vector<SequenceRows> batch = BatchRows();
    EXPECT_TRUE(backend_->BeginStep({.sequences = batch, .layout = layout_}).ok());
    backend_->Attention({q_.data(), rows, cols}, StepRows::kAll, kLayer,
                        {scale(), shape_.window, shape_.softcap}, {out.data(), rows, cols});
    return out;
  }

  // The largest relative error, |out - expected| / |expected|, of one head of one row.
  double WorstError(const std::vector<float>& out) {
    const std::vector<float> expected = Expected();
    double worst = 0;
    for (size_t begin = 0; begin < out.size(); begin += shape_.head_dim) {
      double difference = 0;
      double size = 0;
      for (size_t i = begin; i < begin + shape_.head_dim; ++i) {
        difference += (double{out[i]} - expected[i]) * (double{out[i]} - expected[i]);
        size += double{expected[i]} * expected[i];
      }
      const double error = std::sqrt(difference / size);
      worst = std::isnan(error) ? std::numeric_limits<double>::infinity() : std::max(worst, error);
    }
    return worst;
  }

 private:
  int BlocksOf(const PagedSequence& s) const {
    return (s.start + s.num_rows + shape_.block_tokens - 1) / shape_.block_tokens;
  }

  // In shuffled places with free slots between them. Bytes 0xFF are NaN in every float format.
  void PlaceBlocks() {
    int count = 0;
    for (const PagedSequence& s : sequences_) {
      count += BlocksOf(s) - s.shared / shape_.block_tokens;
      table_stride_ = std::max(table_stride_, BlocksOf(s) + 1);
    }
    const auto units =
        static_cast<int64_t>((layout_.BytesPerBlock() + kBlockUnit - 1) / kBlockUnit);
    std::vector<int64_t> places(2 * count + 1);
    std::iota(places.begin(), places.end(), 0);
    std::shuffle(places.begin(), places.end(), random_);
    arena_bytes_ = places.size() * units * kBlockUnit;
    memory_.assign(arena_bytes_ + kBlockUnit, 0xFF);
    arena_ = memory_.data() +
             (kBlockUnit - reinterpret_cast<uintptr_t>(memory_.data()) % kBlockUnit) % kBlockUnit;
    // No place at all: whoever reads it dies.
    table_.assign(sequences_.size() * table_stride_, 0xFFFFFFF0u);
    blocks_.resize(sequences_.size());
    for (size_t i = 0, next = 0; i < sequences_.size(); ++i) {
      const PagedSequence& s = sequences_[i];
      for (int b = 0; b < BlocksOf(s); ++b) {
        const int64_t unit = b < s.shared / shape_.block_tokens
                                 ? table_[s.sharer * table_stride_ + b]
                                 : places[next++] * units;
        table_[i * table_stride_ + b] = static_cast<uint32_t>(unit);
        blocks_[i].push_back(reinterpret_cast<std::byte*>(arena_ + unit * kBlockUnit));
      }
    }
  }

  void WriteKv() {
    const int64_t cols = int64_t{shape_.kv_heads} * shape_.head_dim;
    for (size_t i = 0; i < sequences_.size(); ++i) {
      const PagedSequence& s = sequences_[i];
      SequenceRows rows;
      rows.start = s.shared / shape_.block_tokens * shape_.block_tokens;
      rows.num_rows = s.start + s.num_rows - rows.start;
      const int64_t tokens = rows.num_rows;
      std::vector<float> k = Random(tokens * cols);
      std::vector<float> v = Random(tokens * cols);
      rows.blocks = blocks_[i];
      AppendKvRows({k.data(), tokens, cols}, {v.data(), tokens, cols}, {rows}, layout_, kLayer);
    }
  }

  std::vector<float> Random(size_t count) {
    std::normal_distribution<float> normal;
    std::vector<float> numbers(count);
    for (float& x : numbers) x = normal(random_);
    return numbers;
  }

  const PagedShape shape_;
  const std::vector<PagedSequence> sequences_;
  const std::unique_ptr<Backend> backend_;
  std::mt19937 random_;
  cachestore::KvLayout layout_;
  int32_t table_stride_ = 0;
  size_t arena_bytes_ = 0;
  std::vector<uint8_t> memory_;
  uint8_t* arena_ = nullptr;
  std::vector<uint32_t> table_;
  std::vector<std::vector<std::byte*>> blocks_;
  std::vector<AttentionRow> rows_;
  std::vector<float> q_;
};

}  // namespace reprise::engine::cuda
