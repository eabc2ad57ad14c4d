// Attention and AppendKvRows over blocks of every KV format.
#include "engine/backend/kv_format.h"

#include <cmath>
#include <cstring>
#include <memory>
#include <vector>

#include "engine/backend/backend.h"
#include "gtest/gtest.h"
#include "tests/engine/backend/attention_fixture.h"
#include "tests/engine/backend/kv_reference.h"
#include "tests/engine/backend/vector_target.h"

namespace reprise::engine {
namespace {

class KvFormatTest : public AttentionFixture {
 protected:
  static constexpr int64_t kTokens = 140;

  // Replaces the sequence's k and v by what they read back as.
  void RoundSequence(DType dtype) {
    for (std::vector<float>* rows : {&sequences_[0].k, &sequences_[0].v}) {
      for (auto row = rows->begin(); row != rows->end(); row += shape_.head_dim) {
        const std::vector<float> read = ReadsBackAs({row, row + shape_.head_dim}, dtype);
        std::copy(read.begin(), read.end(), row);
      }
    }
  }
};

TEST_F(KvFormatTest, OnlyF32IsExactAndOnlyIntegersHaveScales) {
  for (const DType dtype : cachestore::kAllDTypes) {
    EXPECT_EQ(IsExact(dtype), dtype == DType::kF32);
    UseShape({.head_dim = 64, .dtype = dtype});
    EXPECT_TRUE(layout_.Validate().ok()) << layout_.Validate();
    EXPECT_EQ(layout_.scales != cachestore::KvScales::kOutside,
              dtype == DType::kInt8 || dtype == DType::kInt4);
  }
}

TEST_F(KvFormatTest, AttentionReadsWhatWasEncodedOnEveryVectorTarget) {
  const std::unique_ptr<Backend> backend = NewCpuBackend(2);
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    SCOPED_TRACE(hwy::TargetName(target));
    const VectorTarget scope(target);
    for (const DType dtype : cachestore::kAllDTypes) {
      for (const int32_t head_dim : {64, 80, 12}) {
        SCOPED_TRACE(::testing::Message() << cachestore::DTypeName(dtype) << " dim " << head_dim);
        UseShape(
            {.heads = 4, .kv_heads = 2, .head_dim = head_dim, .block_tokens = 16, .dtype = dtype});
        AddSequence(kTokens);
        const std::vector<float> out = Run(*backend, {{0, 0, kTokens}});
        // Alone, a row of 16-bit elements is computed from the blocks themselves.
        const std::vector<float> last = Run(*backend, {{0, kTokens - 1, 1}});
        EXPECT_EQ(std::memcmp(last.data(), out.data() + (kTokens - 1) * q_cols(),
                              last.size() * sizeof(float)),
                  0);
        // Rows of the chunk itself are read from the blocks too: nothing here saw the numbers as
        // they were computed.
        const double unrounded = WorstError({0, 0, kTokens}, out.data());
        RoundSequence(dtype);
        EXPECT_LT(WorstError({0, 0, kTokens}, out.data()), 2e-6);
        EXPECT_EQ(unrounded > 1e-5, !IsExact(dtype));
      }
    }
  }
}

TEST_F(KvFormatTest, AnyCutIntoChunksGivesTheSameBits) {
  const std::unique_ptr<Backend> backend = NewCpuBackend(2);
  for (const DType dtype : cachestore::kAllDTypes) {
    SCOPED_TRACE(cachestore::DTypeName(dtype));
    UseShape({.heads = 14, .kv_heads = 2, .head_dim = 64, .block_tokens = 16, .dtype = dtype});
    AddSequence(300);
    const std::vector<float> whole = Run(*backend, {{0, 0, 300}});
    for (const int64_t rows : {1, 7, 64, 299}) {
      blocks_[0] = Blocks(layout_, 300, static_cast<uint32_t>(rows));
      std::vector<float> pieces;
      for (int64_t start = 0; start < 300; start += rows) {
        const std::vector<float> out =
            Run(*backend, {{0, start, std::min<int64_t>(rows, 300 - start)}});
        pieces.insert(pieces.end(), out.begin(), out.end());
      }
      EXPECT_EQ(std::memcmp(pieces.data(), whole.data(), whole.size() * sizeof(float)), 0) << rows;
    }
    // The comparison can fail: another key changes the rows that see it, and no other.
    sequences_[0].k[5 * kv_cols()] += 4.0f;
    const std::vector<float> changed = Run(*backend, {{0, 0, 300}});
    EXPECT_NE(std::memcmp(changed.data(), whole.data(), whole.size() * sizeof(float)), 0);
    EXPECT_EQ(std::memcmp(changed.data(), whole.data(), 5 * q_cols() * sizeof(float)), 0);
  }
}

TEST_F(KvFormatTest, WritesOnlyTheBytesOfItsOwnRows) {
  const std::unique_ptr<Backend> backend = NewCpuBackend(2);
  for (const DType dtype : cachestore::kAllDTypes) {
    SCOPED_TRACE(cachestore::DTypeName(dtype));
    UseShape({.heads = 2,
              .kv_heads = 2,
              .head_dim = 40,
              .block_tokens = 8,
              .num_layers = 3,
              .dtype = dtype});
    AddSequence(8);
    Run(*backend, {{0, 0, 3}});
    const auto* block = blocks_[0].blocks()[0];
    std::vector<bool> ours(layout_.BytesPerBlock(), false);
    const size_t scale_bytes = 2 * layout_.ScalesPerRow();
    for (const int32_t part : {0, 1}) {
      const size_t begin = layout_.PartOffset(kLayer, part);
      for (const size_t row : {0, 1, 2, 8, 9, 10}) {
        const size_t at = begin + row * layout_.RowBytes();
        std::fill_n(ours.begin() + at, layout_.RowBytes(), true);
        const size_t scales = begin + layout_.ScalesOffset() + row * scale_bytes;
        std::fill_n(ours.begin() + scales, scale_bytes, true);
      }
    }
    size_t written = 0;
    for (size_t i = 0; i < ours.size(); ++i) {
      const bool touched = block[i] != std::byte{0xFF};
      EXPECT_TRUE(ours[i] || !touched) << "byte " << i;
      written += touched;
    }
    // Some bytes are 0xFF by chance.
    EXPECT_GT(written, 2 * 6 * (layout_.RowBytes() + scale_bytes) * 9 / 10);
  }
}

}  // namespace
}  // namespace reprise::engine
