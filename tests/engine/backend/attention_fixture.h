// AttentionFixture: attention of the CPU backend over real paged blocks.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "absl/types/span.h"
#include "cachestore/block/kv_layout.h"
#include "engine/backend/backend.h"
#include "engine/backend/kv_format.h"
#include "engine/backend/kv_rows.h"
#include "gtest/gtest.h"

namespace reprise::engine {

using cachestore::DType;
using cachestore::KvLayout;

struct Shape {
  int64_t heads = 1;
  int32_t kv_heads = 1;
  int32_t head_dim = 1;
  int32_t block_tokens = 8;
  int32_t num_layers = 2;
  DType dtype = DType::kF32;
};

// One sequence's q, k, v for every position, in memory of their own: what a token's rows are does
// not depend on how the sequence is run.
struct Sequence {
  Sequence(const Shape& shape, int64_t tokens, uint32_t seed) : tokens(tokens) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    const auto fill = [&](std::vector<float>& values, int64_t cols) {
      values.resize(tokens * cols);
      for (float& value : values) value = normal(random);
    };
    fill(q, shape.heads * shape.head_dim);
    fill(k, int64_t{shape.kv_heads} * shape.head_dim);
    fill(v, int64_t{shape.kv_heads} * shape.head_dim);
  }

  int64_t tokens;
  std::vector<float> q, k, v;
};

// The blocks of one sequence: each allocated by itself, taken in shuffled order, filled with NaN.
class Blocks {
 public:
  Blocks(const KvLayout& layout, int64_t tokens, uint32_t seed) {
    const int64_t count = (tokens + layout.block_tokens - 1) / layout.block_tokens;
    for (int64_t i = 0; i < count; ++i) {
      // Bytes 0xFF are a NaN in f32, f16 and bf16.
      storage_.emplace_back(layout.BytesPerBlock(), std::byte{0xFF});
    }
    for (auto& block : storage_) pointers_.push_back(block.data());
    std::shuffle(pointers_.begin(), pointers_.end(), std::mt19937(seed));
  }

  absl::Span<std::byte* const> blocks() const { return pointers_; }

 private:
  std::vector<std::vector<std::byte>> storage_;
  std::vector<std::byte*> pointers_;
};

// A rectangle of a batch: positions [start, start + num_rows) of sequence `index`.
struct Piece {
  int index = 0;
  int64_t start = 0;
  int64_t num_rows = 0;
};

// Sequences of random q, k, v, their blocks, attention over them and what it should give.
class AttentionFixture : public ::testing::Test {
 protected:
  static constexpr int32_t kLayer = 1;

  void SetUp() override { UseShape({}); }

  void UseShape(const Shape& shape) {
    shape_ = shape;
    layout_.num_layers = shape.num_layers;
    layout_.num_kv_heads = shape.kv_heads;
    layout_.head_dim = shape.head_dim;
    layout_.block_tokens = shape.block_tokens;
    layout_ = WithDType(layout_, shape.dtype);
    scale_ = 1.0f / std::sqrt(static_cast<float>(shape.head_dim));
    sequences_.clear();
    blocks_.clear();
  }

  void AddSequence(int64_t tokens) {
    const auto seed = static_cast<uint32_t>(sequences_.size() + 1);
    sequences_.emplace_back(shape_, tokens, seed);
    blocks_.emplace_back(layout_, tokens, seed);
  }

  // Runs `pieces` as one batch: appends their KV and attends. Returns the output rows in order.
  std::vector<float> Run(Backend& backend, const std::vector<Piece>& pieces) {
    std::vector<float> q, k, v;
    std::vector<SequenceRows> rows;
    int64_t total = 0;
    const auto append = [](std::vector<float>& to, const std::vector<float>& from,
                           const Piece& piece, int64_t cols) {
      to.insert(to.end(), from.begin() + piece.start * cols,
                from.begin() + (piece.start + piece.num_rows) * cols);
    };
    for (const Piece& piece : pieces) {
      const Sequence& sequence = sequences_[piece.index];
      append(q, sequence.q, piece, q_cols());
      append(k, sequence.k, piece, kv_cols());
      append(v, sequence.v, piece, kv_cols());
      SequenceRows entry;
      entry.first_row = total;
      entry.num_rows = piece.num_rows;
      entry.start = piece.start;
      entry.blocks = blocks_[piece.index].blocks();
      rows.push_back(entry);
      total += piece.num_rows;
    }
    std::vector<float> out(q.size(), std::numeric_limits<float>::quiet_NaN());
    AppendKvRows({k.data(), total, kv_cols()}, {v.data(), total, kv_cols()}, rows, layout_, kLayer);
    EXPECT_TRUE(backend.BeginStep({.sequences = rows, .layout = layout_}).ok());
    backend.Attention({q.data(), total, q_cols()}, StepRows::kAll, kLayer,
                      {scale_, window_, softcap_}, {out.data(), total, q_cols()});
    return out;
  }

  // Attention of one row of one sequence in double precision, from the tokens' own k and v.
  std::vector<double> Reference(int index, int64_t position) const {
    const Sequence& sequence = sequences_[index];
    const int64_t dim = shape_.head_dim;
    const int64_t group = shape_.heads / shape_.kv_heads;
    std::vector<double> out(q_cols(), 0.0);
    for (int64_t head = 0; head < shape_.heads; ++head) {
      const float* q = sequence.q.data() + position * q_cols() + head * dim;
      std::vector<double> scores(position + 1, -std::numeric_limits<double>::infinity());
      for (int64_t t = FirstSeen(position); t <= position; ++t) {
        scores[t] = 0;
        const float* k = sequence.k.data() + t * kv_cols() + head / group * dim;
        for (int64_t c = 0; c < dim; ++c) scores[t] += double{q[c]} * k[c];
        scores[t] *= scale_;
        if (softcap_ > 0) scores[t] = softcap_ * std::tanh(scores[t] / softcap_);
      }
      const double largest = *std::max_element(scores.begin(), scores.end());
      double total = 0;
      for (double& score : scores) total += score = std::exp(score - largest);
      for (int64_t t = FirstSeen(position); t <= position; ++t) {
        const float* v = sequence.v.data() + t * kv_cols() + head / group * dim;
        for (int64_t c = 0; c < dim; ++c) out[head * dim + c] += scores[t] / total * v[c];
      }
    }
    return out;
  }

  // Largest difference between `rows`, the output of a piece, and the reference.
  double WorstError(const Piece& piece, const float* rows) const {
    double worst = 0;
    for (int64_t r = 0; r < piece.num_rows; ++r) {
      const std::vector<double> expected = Reference(piece.index, piece.start + r);
      for (int64_t c = 0; c < q_cols(); ++c) {
        const double error = std::abs(rows[r * q_cols() + c] - expected[c]);
        worst =
            std::isnan(error) ? std::numeric_limits<double>::infinity() : std::max(worst, error);
      }
    }
    return worst;
  }

  int64_t FirstSeen(int64_t position) const {
    return window_ == 0 ? 0 : std::max<int64_t>(0, position + 1 - window_);
  }
  int64_t q_cols() const { return shape_.heads * shape_.head_dim; }
  int64_t kv_cols() const { return int64_t{shape_.kv_heads} * shape_.head_dim; }

  Shape shape_;
  KvLayout layout_;
  float scale_ = 1;
  int64_t window_ = 0;
  float softcap_ = 0;
  std::vector<Sequence> sequences_;
  std::vector<Blocks> blocks_;
};

}  // namespace reprise::engine
