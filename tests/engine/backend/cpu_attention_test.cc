// Attention and AppendKvRows of the CPU backend, over real paged blocks.

#include <algorithm>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "engine/backend/backend.h"
#include "gtest/gtest.h"
#include "tests/engine/backend/attention_fixture.h"
#include "tests/engine/backend/vector_target.h"

namespace reprise::engine {
namespace {

using CpuAttentionTest = AttentionFixture;

TEST_F(CpuAttentionTest, AgreesWithDoublePrecisionForEveryKindOfHeads) {
  const std::unique_ptr<Backend> backend = NewCpuBackend(2);
  const std::vector<Shape> shapes = {
      {.heads = 4, .kv_heads = 4, .head_dim = 64, .block_tokens = 16},
      {.heads = 14, .kv_heads = 2, .head_dim = 64, .block_tokens = 8},
      {.heads = 5, .kv_heads = 1, .head_dim = 128, .block_tokens = 256},
      {.heads = 6, .kv_heads = 3, .head_dim = 80, .block_tokens = 32},
      {.heads = 3, .kv_heads = 3, .head_dim = 13, .block_tokens = 7},
      {.heads = 2, .kv_heads = 1, .head_dim = 1, .block_tokens = 1},
      {.heads = 2, .kv_heads = 2, .head_dim = 100, .block_tokens = 64},
  };
  for (const Shape& shape : shapes) {
    SCOPED_TRACE(::testing::Message() << shape.heads << " heads, " << shape.kv_heads
                                      << " kv heads, dim " << shape.head_dim);
    UseShape(shape);
    AddSequence(201);
    const Piece all{0, 0, 201};
    const std::vector<float> out = Run(*backend, {all});
    EXPECT_LT(WorstError(all, out.data()), 2e-6);
    // The bound can tell a wrong result: a scale off by a hundredth is seen.
    scale_ *= 1.01f;
    EXPECT_GT(WorstError(all, out.data()), 2e-5);
  }
}

TEST_F(CpuAttentionTest, IsRightAndChunksAgreeOnEveryVectorTarget) {
  const std::unique_ptr<Backend> backend = NewCpuBackend(1);
  int targets = 0;
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    SCOPED_TRACE(hwy::TargetName(target));
    const VectorTarget scope(target);
    ++targets;
    for (const int32_t head_dim : {64, 12, 7}) {
      UseShape({.heads = 6, .kv_heads = 2, .head_dim = head_dim, .block_tokens = 8});
      AddSequence(100);
      const std::vector<float> whole = Run(*backend, {{0, 0, 100}});
      EXPECT_LT(WorstError({0, 0, 100}, whole.data()), 2e-6);
      for (const int64_t position : {0, 31, 63, 64, 99}) {
        const std::vector<float> row = Run(*backend, {{0, position, 1}});
        EXPECT_EQ(std::memcmp(row.data(), whole.data() + position * q_cols(), row.size() * 4), 0);
      }
    }
  }
  EXPECT_GE(targets, 1);
}

TEST_F(CpuAttentionTest, AnyCutIntoChunksGivesTheSameBits) {
  const std::unique_ptr<Backend> backend = NewCpuBackend(2);
  for (const int64_t kv_heads : {4, 2, 1}) {
    Shape shape{.heads = 4, .head_dim = 64, .block_tokens = 16};
    shape.kv_heads = static_cast<int32_t>(kv_heads);
    UseShape(shape);
    AddSequence(333);
    const std::vector<float> whole = Run(*backend, {{0, 0, 333}});
    std::mt19937 random(static_cast<uint32_t>(kv_heads));
    for (int round = 0; round < 4; ++round) {
      blocks_[0] = Blocks(layout_, 333, 77 + round);
      std::vector<float> pieces;
      int64_t start = 0;
      int chunks = 0;
      while (start < 333) {
        const int64_t longest = round == 0 ? 1 : 100;
        const int64_t rows = std::min<int64_t>(333 - start, 1 + random() % longest);
        const std::vector<float> out = Run(*backend, {{0, start, rows}});
        pieces.insert(pieces.end(), out.begin(), out.end());
        start += rows;
        ++chunks;
      }
      EXPECT_GT(chunks, 3);
      EXPECT_EQ(std::memcmp(pieces.data(), whole.data(), whole.size() * sizeof(float)), 0);
    }
    // The comparison can fail: another key changes the rows that see it, and no other.
    sequences_[0].k[5 * kv_cols()] += 0.01f;
    const std::vector<float> changed = Run(*backend, {{0, 0, 333}});
    EXPECT_NE(std::memcmp(changed.data(), whole.data(), whole.size() * sizeof(float)), 0);
    EXPECT_EQ(std::memcmp(changed.data(), whole.data(), 5 * q_cols() * sizeof(float)), 0);
  }
}

TEST_F(CpuAttentionTest, SequencesOfABatchDoNotTouchEachOther) {
  const std::unique_ptr<Backend> backend = NewCpuBackend(2);
  UseShape({.heads = 6, .kv_heads = 2, .head_dim = 64, .block_tokens = 16});
  const std::vector<int64_t> lengths = {150, 1, 64, 65, 300, 17};
  for (const int64_t length : lengths) AddSequence(length);
  // Prefixes first, so that the batch mixes decode rows, suffixes and whole prompts.
  const std::vector<int64_t> starts = {149, 0, 0, 63, 200, 16};
  for (int i = 0; i < 6; ++i) {
    if (starts[i] > 0) Run(*backend, {{i, 0, starts[i]}});
  }
  std::vector<Piece> batch;
  for (int i = 0; i < 6; ++i) batch.push_back({i, starts[i], lengths[i] - starts[i]});
  const std::vector<float> together = Run(*backend, batch);
  int64_t row = 0;
  for (const Piece& piece : batch) {
    const std::vector<float> alone = Run(*backend, {piece});
    EXPECT_EQ(
        std::memcmp(alone.data(), together.data() + row * q_cols(), alone.size() * sizeof(float)),
        0)
        << "sequence " << piece.index;
    EXPECT_LT(WorstError(piece, together.data() + row * q_cols()), 2e-6);
    row += piece.num_rows;
  }
}

TEST_F(CpuAttentionTest, TheNumberOfThreadsDoesNotChangeABit) {
  UseShape({.heads = 12, .kv_heads = 12, .head_dim = 64, .block_tokens = 16});
  AddSequence(500);
  const std::vector<float> one = Run(*NewCpuBackend(1), {{0, 0, 500}});
  const std::vector<float> five = Run(*NewCpuBackend(5), {{0, 0, 500}});
  EXPECT_EQ(std::memcmp(one.data(), five.data(), one.size() * sizeof(float)), 0);
}

TEST_F(CpuAttentionTest, DecodeSplitOverRangesHasTheBitsOfPrefill) {
  // One kv head and one row: with 8 threads each takes ranges, with one nobody does.
  const std::unique_ptr<Backend> one = NewCpuBackend(1);
  const std::unique_ptr<Backend> eight = NewCpuBackend(8);
  for (const int32_t head_dim : {64, 100}) {
    UseShape({.heads = 4, .kv_heads = 1, .head_dim = head_dim, .block_tokens = 16});
    AddSequence(1100);
    const std::vector<float> whole = Run(*one, {{0, 0, 1100}});
    EXPECT_LT(WorstError({0, 0, 1100}, whole.data()), 2e-6);
    for (const int64_t position : {0, 254, 255, 256, 257, 511, 512, 767, 1099}) {
      const std::vector<float> row = Run(*eight, {{0, position, 1}});
      EXPECT_EQ(std::memcmp(row.data(), whole.data() + position * q_cols(), row.size() * 4), 0)
          << "position " << position;
    }
    // Rows on both sides of a border, some of which see nothing of the last range.
    const std::vector<float> rows = Run(*eight, {{0, 505, 12}});
    EXPECT_EQ(std::memcmp(rows.data(), whole.data() + 505 * q_cols(), rows.size() * 4), 0);
  }
}

TEST_F(CpuAttentionTest, WindowsHideWhatLiesBeforeThem) {
  // Windows of one position, inside of a tile, of whole tiles and ranges, and wider than the text.
  const std::unique_ptr<Backend> one = NewCpuBackend(1);
  const std::unique_ptr<Backend> eight = NewCpuBackend(8);
  UseShape({.heads = 4, .kv_heads = 2, .head_dim = 20, .block_tokens = 16});
  AddSequence(600);
  for (const int64_t window : {1, 2, 50, 64, 65, 128, 256, 300, 599, 600, 5000}) {
    SCOPED_TRACE(window);
    window_ = window;
    const std::vector<float> whole = Run(*one, {{0, 0, 600}});
    for (const int64_t position : {0, 1, 63, 64, 255, 256, 300, 511, 599}) {
      EXPECT_LT(WorstError({0, position, 1}, whole.data() + position * q_cols()), 2e-6);
    }
    std::mt19937 random(static_cast<uint32_t>(window));
    for (int round = 0; round < 30; ++round) {
      const int64_t start = random() % 600;
      const int64_t rows = round % 2 == 0 ? 1 : 1 + random() % (600 - start);
      const std::vector<float> piece = Run(round % 3 == 0 ? *eight : *one, {{0, start, rows}});
      EXPECT_EQ(std::memcmp(piece.data(), whole.data() + start * q_cols(), piece.size() * 4), 0)
          << rows << " rows at " << start;
    }
    // The bound can tell a window that is one position off.
    window_ = window + 1;
    EXPECT_EQ(WorstError({0, 599, 1}, whole.data() + 599 * q_cols()) > 1e-4, window < 600);
  }
}

TEST_F(CpuAttentionTest, SoftcapsBoundScoresInEveryRowAlike) {
  const std::unique_ptr<Backend> one = NewCpuBackend(1);
  const std::unique_ptr<Backend> eight = NewCpuBackend(8);
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    SCOPED_TRACE(hwy::TargetName(target));
    const VectorTarget scope(target);
    UseShape({.heads = 4, .kv_heads = 2, .head_dim = 20, .block_tokens = 16});
    AddSequence(600);
    scale_ = 1;  // scores of about 4.5: most are past a cap of 1, few past one of 20
    for (const float softcap : {1.0f, 20.0f}) {
      softcap_ = softcap;
      const std::vector<float> whole = Run(*one, {{0, 0, 600}});
      const Piece last{0, 560, 40};
      EXPECT_LT(WorstError(last, whole.data() + 560 * q_cols()), 4e-6) << softcap;
      for (const int64_t position : {0, 63, 64, 255, 256, 599}) {
        const std::vector<float> row = Run(*eight, {{0, position, 1}});
        EXPECT_EQ(std::memcmp(row.data(), whole.data() + position * q_cols(), row.size() * 4), 0);
      }
      // The bound can tell a wrong cap.
      softcap_ *= 1.01f;
      EXPECT_GT(WorstError(last, whole.data() + 560 * q_cols()), 4e-5) << softcap;
    }
  }
}

TEST_F(CpuAttentionTest, NothingBeforeTheWindowIsRead) {
  UseShape({.heads = 2, .kv_heads = 2, .head_dim = 16, .block_tokens = 64});
  AddSequence(600);
  window_ = 100;
  const std::unique_ptr<Backend> backend = NewCpuBackend(1);
  const std::vector<float> whole = Run(*backend, {{0, 0, 600}});
  // Position 599 sees [500, 600): the block of [448, 512) is the first that it needs.
  blocks_[0] = Blocks(layout_, 600, 9);
  window_ = 0;
  Run(*backend, {{0, 448, 151}});  // writes their KV; what is before is NaN
  window_ = 100;
  const std::vector<float> last = Run(*backend, {{0, 599, 1}});
  EXPECT_EQ(std::memcmp(last.data(), whole.data() + 599 * q_cols(), last.size() * 4), 0);
}

TEST_F(CpuAttentionTest, WritesOnlyTheRowsOfItsOwnLayerAndPositions) {
  const std::unique_ptr<Backend> backend = NewCpuBackend(2);
  UseShape({.heads = 2, .kv_heads = 2, .head_dim = 16, .block_tokens = 8, .num_layers = 3});
  AddSequence(24);
  Run(*backend, {{0, 0, 11}});
  int64_t written = 0;
  for (size_t b = 0; b < blocks_[0].blocks().size(); ++b) {
    const std::byte* block = blocks_[0].blocks()[b];
    for (int32_t layer = 0; layer < 3; ++layer) {
      for (int32_t part = 0; part < 2; ++part) {
        for (int32_t head = 0; head < 2; ++head) {
          for (int64_t token = 0; token < 8; ++token) {
            const int64_t position = static_cast<int64_t>(b) * 8 + token;
            const std::byte* row =
                block + layout_.PartOffset(layer, part) + (head * 8 + token) * 16 * sizeof(float);
            const std::vector<float>& source = part == 0 ? sequences_[0].k : sequences_[0].v;
            const bool ours = layer == kLayer && position < 11;
            written += ours;
            if (ours) {
              EXPECT_EQ(std::memcmp(row, source.data() + position * 32 + head * 16, 64), 0);
            } else {
              EXPECT_TRUE(
                  std::all_of(row, row + 64, [](std::byte b) { return b == std::byte{0xFF}; }));
            }
          }
        }
      }
    }
  }
  EXPECT_EQ(written, 11 * 2 * 2);
}

TEST_F(CpuAttentionTest, ScoresFarApartStayFinite) {
  const std::unique_ptr<Backend> backend = NewCpuBackend(2);
  UseShape({.heads = 1, .kv_heads = 1, .head_dim = 16, .block_tokens = 8});
  AddSequence(130);
  for (int64_t t = 0; t < 130; ++t) {
    for (int64_t c = 0; c < 16; ++c) {
      sequences_[0].q[t * 16 + c] = 20.0f;
      sequences_[0].k[t * 16 + c] = t == 70 ? 20.0f : t == 90 ? -20.0f : 0.0f;
    }
  }
  const std::vector<float> out = Run(*backend, {{0, 0, 130}});
  EXPECT_LT(WorstError({0, 0, 130}, out.data()), 2e-6);
  // From position 70 on its score is 1,600 above the others: the output is its value.
  for (int64_t c = 0; c < 16; ++c) EXPECT_EQ(out[129 * 16 + c], sequences_[0].v[70 * 16 + c]);
  EXPECT_NE(out[69 * 16], sequences_[0].v[70 * 16]);
}

}  // namespace
}  // namespace reprise::engine
