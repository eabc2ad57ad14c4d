// What the emulation of wgmma catches. That it multiplies right: hopper_probe_test.cc.
#include "engine/backend/cuda/emulation/group_mma.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/backend/cuda/kernels/hopper_code.h"
#include "tests/engine/backend/cuda/schedules.h"

namespace reprise::engine::cuda {
namespace {

using emulation::Launch;
using emulation::Schedule;
using testing::HasSubstr;

constexpr int kRows = 128;  // of B^T; the first 64 are A too
constexpr int kColumns = 64;

// What the product below does about its rules.
struct Care {
  bool swizzles = true;
  bool fences_stores = true;
  bool waits_for_stores = true;
  bool fences_registers = true;
  bool reads_after_the_wait = true;
  bool keeps_registers = true;
  bool waits = true;
  int stride = kPatternBytes;
  uint64_t descriptor_bits = 0;  // on top
};

uint16_t Number(int row, int column) {
  return emulation::BF16OfFloat(static_cast<float>((row * 3 + column * 5) % 7 - 3));
}

// D = A B + A B by a warpgroup, the second time with A in registers and B by columns: B^T's first
// 64 rows as 64 columns.
absl::StatusOr<std::vector<float>> Product(const Schedule& schedule, const Care& care) {
  std::vector<float> out(128 * 64, -1);
  const absl::Status status = Launch({1, 1, 128, kRows * kLineBytes}, schedule, [&] {
    const int row = ThreadInBlock();
    for (int piece = 0; piece < 8; ++piece) {
      alignas(16) uint16_t numbers[8];
      for (int i = 0; i < 8; ++i) numbers[i] = Number(row, 8 * piece + i);
      StoreForAsync(
          SharedBase() + (care.swizzles ? PlaceOfPiece(row, piece) : row * kLineBytes + piece * 16),
          Load16(numbers));
    }
    if (care.fences_stores) FenceAsync();
    if (care.waits_for_stores) SyncBlock();
    const auto describe = [&](int offset) {
      return DescribeMatrix(SharedBase() + offset, 16, care.stride) ^ care.descriptor_bits;
    };
    float sums[16][4] = {};
    float more[8][4] = {};
    uint32_t a[1][4];
    for (int i = 0; i < 4; ++i) a[0][i] = 0x3F803F80;  // ones
    if (care.fences_registers) FenceProducts(sums, more, a);
    for (int step = 0; step < kColumns / 16; ++step) {
      MultiplyShared<true>(sums, describe(32 * step), describe(32 * step), step > 0);
    }
    CommitProducts();
    MultiplyRegisters<true>(more, a[0], describe(0));
    CommitProducts();
    if (!care.keeps_registers) a[0][0] = 0;
    float early = sums[0][0];
    if (care.waits) {
      WaitForProducts<1>(sums);
      WaitForProducts<0>(more);
    }
    if (care.reads_after_the_wait) early = sums[0][0];
    for (int j = 0; j < 16; ++j) {
      for (int i = 0; i < 4; ++i) {
        out[64 * ThreadInBlock() + 4 * j + i] = sums[j][i] + (j < 8 ? more[j][i] : 0);
      }
    }
    out[64 * ThreadInBlock()] = early;
  });
  if (!status.ok()) return status;
  return out;
}

// What all schedules agree on; empty: they do not.
std::vector<float> Agreed(const Care& care) {
  std::vector<std::vector<float>> outputs;
  for (const Schedule& schedule : AllSchedules()) {
    const auto out = Product(schedule, care);
    EXPECT_TRUE(out.ok()) << out.status();
    if (!out.ok()) return {};
    outputs.push_back(*out);
  }
  return AreSame(outputs) ? outputs[0] : std::vector<float>();
}

float Value(uint16_t bits) { return emulation::FloatOfBF16(bits); }

TEST(GroupMmaTest, ProductsAreThereAfterTheWait) {
  const std::vector<float> out = Agreed({});
  ASSERT_EQ(out.size(), 128u * 64);
  for (int thread = 0; thread < 128; ++thread) {
    for (int i = 1; i < 64; ++i) {
      const int row = thread / 32 * 16 + thread % 32 / 4 + i % 4 / 2 * 8;
      const int column = i / 4 * 8 + thread % 4 * 2 + i % 2;
      float expected = 0;
      for (int k = 0; k < kColumns; ++k) {
        expected += Value(Number(row, k)) * Value(Number(column, k));
      }
      for (int k = 0; k < 16 && i < 32; ++k) expected += Value(Number(k, column));
      EXPECT_EQ(out[64 * thread + i], expected) << thread << " " << i;
    }
  }
}

TEST(GroupMmaTest, AWrongSwizzleOrStrideShows) {
  const std::vector<float> right = Agreed({});
  EXPECT_NE(Agreed({.swizzles = false}), right);
  EXPECT_NE(Agreed({.stride = kPatternBytes / 2}), right);
}

// Warps begin a product one by one: what others store must be waited for.
TEST(GroupMmaTest, AMissingBarrierBehindTheStoresShows) {
  EXPECT_TRUE(Agreed({.waits_for_stores = false}).empty());
}

TEST(GroupMmaTest, ReadingSumsBeforeTheWaitShows) {
  EXPECT_TRUE(Agreed({.reads_after_the_wait = false}).empty());
}

TEST(GroupMmaTest, ChangingAnOperandBeforeTheWaitShows) {
  EXPECT_TRUE(Agreed({.keeps_registers = false}).empty());
}

TEST(GroupMmaTest, BrokenRulesAreNamed) {
  const auto expect_refused = [](const Care& care, const std::string& cause) {
    for (const Schedule& schedule : AllSchedules()) {
      const absl::Status status = Product(schedule, care).status();
      EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
      EXPECT_THAT(std::string(status.message()), HasSubstr(cause));
    }
  };
  expect_refused({.fences_stores = false}, "before its stores were fenced");
  expect_refused({.fences_registers = false}, "not fenced as they are");
  expect_refused({.waits = false}, "before its products were waited for");
  expect_refused({.descriptor_bits = 1ull << 62}, "not a matrix swizzled over 128 bytes");
  expect_refused({.descriptor_bits = 1ull << 49}, "not a matrix swizzled over 128 bytes");
  expect_refused({.descriptor_bits = 1}, "not a matrix swizzled over 128 bytes");
  expect_refused({.stride = 16 * kPatternBytes}, "leaves shared memory");
}

// Stores that are fenced after the barrier: others may read before.
TEST(GroupMmaTest, ALateFenceShows) {
  std::vector<std::vector<float>> outputs;
  for (const Schedule& schedule : AllSchedules()) {
    std::vector<float> out(128);
    const absl::Status status = Launch({1, 1, 256, 64 * kLineBytes}, schedule, [&] {
      if (ThreadInBlock() < 64) {
        for (int piece = 0; piece < 8; ++piece) {
          StoreForAsync(SharedBase() + PlaceOfPiece(ThreadInBlock(), piece), Words4{1, 1, 1, 1});
        }
      }
      SyncBlock();
      if (ThreadInBlock() < 64) FenceAsync();
      if (ThreadInBlock() < 128) return;
      float sums[8][4] = {};
      uint32_t a[1][4] = {{1, 1, 1, 1}};
      FenceProducts(sums, a);
      MultiplyRegisters<true>(sums, a[0], DescribeMatrix(SharedBase(), 16, kPatternBytes));
      CommitProducts();
      WaitForProducts<0>(sums);
      out[ThreadInBlock() - 128] = sums[0][0];
    });
    EXPECT_TRUE(status.ok()) << status;
    outputs.push_back(out);
  }
  EXPECT_FALSE(AreSame(outputs));
}

}  // namespace
}  // namespace reprise::engine::cuda
