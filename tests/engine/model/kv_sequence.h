// KvSequence: one sequence with KV blocks of its own, for tests of a model without a store.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "engine/backend/kv_format.h"
#include "engine/model/model.h"
#include "gtest/gtest.h"

namespace reprise::engine {

// Row `r` of activations of the CPU backend.
inline std::vector<float> RowOf(Activations x, int64_t r) { return {x.row(r), x.row(r) + x.cols}; }

class KvSequence {
 public:
  KvSequence(Model* model, int64_t max_tokens, int32_t block_tokens,
             cachestore::DType dtype = cachestore::DType::kF32)
      : model_(model), layout_(WithDType(model->layout(block_tokens), dtype)) {
    memory_.resize((max_tokens + block_tokens - 1) / block_tokens);
    for (std::vector<std::byte>& block : memory_) {
      // Bytes that would be noticed if they were read before they are written: NaN.
      block.resize(layout_.BytesPerBlock(), std::byte{0xFF});
      blocks_.push_back(block.data());
    }
  }

  const cachestore::KvLayout& layout() const { return layout_; }
  int64_t computed() const { return computed_; }
  absl::Span<std::byte* const> blocks() const { return blocks_; }
  const std::vector<std::vector<std::byte>>& memory() const { return memory_; }

  // Begins with the first `count` blocks of `other`, which has computed them. REQUIRES: nothing was
  // computed yet.
  void CopyBlocks(const KvSequence& other, int64_t count) {
    ASSERT_EQ(computed_, 0);
    computed_ = count * layout_.block_tokens;
    ASSERT_LE(computed_, other.computed_);
    for (int64_t i = 0; i < count; ++i) std::ranges::copy(other.memory_[i], memory_[i].begin());
  }
  // The first `count` blocks count as computed; their bytes come later, by CopyLayer. REQUIRES:
  // nothing was computed yet.
  void BeginBehind(int64_t count) {
    ASSERT_EQ(computed_, 0);
    computed_ = count * layout_.block_tokens;
  }
  // One layer of the first `count` blocks of `other`.
  void CopyLayer(const KvSequence& other, int64_t count, int32_t layer) {
    const auto begin = static_cast<int64_t>(layout_.PartOffset(layer, 0));
    const auto end = static_cast<int64_t>(layout_.PartOffset(layer + 1, 0));
    for (int64_t i = 0; i < count; ++i) {
      std::copy(other.memory_[i].begin() + begin, other.memory_[i].begin() + end,
                memory_[i].begin() + begin);
    }
  }
  // Makes one byte of a block another one.
  void Corrupt(int64_t block, size_t byte) { memory_[block][byte] ^= std::byte{0x40}; }

  // The next `tokens` as a chunk that wants logits; counts them as computed. `tokens` must outlive
  // the forward pass.
  SequenceChunk Next(absl::Span<const uint32_t> tokens) {
    const SequenceChunk chunk = {tokens, computed_, blocks_, true};
    computed_ += static_cast<int64_t>(tokens.size());
    return chunk;
  }

  // Computes `tokens` alone; returns the logits of the last one.
  std::vector<float> Run(absl::Span<const uint32_t> tokens) {
    const absl::StatusOr<Activations> logits = model_->Forward({Next(tokens)}, layout_);
    EXPECT_TRUE(logits.ok()) << logits.status();
    return logits.ok() ? RowOf(*logits, 0) : std::vector<float>();
  }

 private:
  Model* const model_;
  const cachestore::KvLayout layout_;
  std::vector<std::vector<std::byte>> memory_;
  std::vector<std::byte*> blocks_;
  int64_t computed_ = 0;
};

inline uint32_t ArgMax(absl::Span<const float> logits) {
  return static_cast<uint32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

}  // namespace reprise::engine
