// The emulation against NVIDIA's own description of the same instructions: who holds what, and how
// matrices lie in shared memory, as CuTe's traits have it (CUTLASS 4: mma_traits_sm80.hpp,
// mma_traits_sm90_gmma.hpp, copy_traits_sm75.hpp). The layouts below were printed by CuTe itself:
// cute::print of MMA_Traits<...>::ALayout and so on.
#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "engine/backend/cuda/kernels/hopper_code.h"
#include "tests/engine/backend/cuda/schedules.h"

namespace reprise::engine::cuda {
namespace {

using emulation::Launch;
using emulation::Schedule;

// One mode of a layout, (sizes):(strides), the first size running fastest.
struct Mode {
  std::vector<int> sizes;
  std::vector<int> strides;

  int operator()(int i) const {
    int index = 0;
    for (size_t k = 0; k < sizes.size(); ++k) {
      index += i % sizes[k] * strides[k];
      i /= sizes[k];
    }
    return index;
  }
};
// From (lane, value) to the index of an element, rows running fastest; or from (row, column).
struct Layout {
  Mode first;
  Mode second;
  int operator()(int i, int j) const { return first(i) + second(j); }
};

// cute::Swizzle<3, 4, 3> of an offset in bytes.
constexpr uint32_t Swizzled343(uint32_t offset) { return offset ^ (offset >> 3 & (7u << 4)); }

uint16_t Number(int i) {
  return emulation::BF16OfFloat(static_cast<float>((i * 7 + i / 16 * 5 + i / 13) % 9 - 4));
}
// `count` elements, in the order that layouts count them.
std::vector<uint16_t> Numbers(int count, int seed) {
  std::vector<uint16_t> numbers(count);
  for (int i = 0; i < count; ++i) numbers[i] = Number(i + seed);
  return numbers;
}

// A [m][k] times B [k][n]; B is given as [n][k], rows running fastest in all of them.
std::vector<float> PlainProduct(absl::Span<const uint16_t> a, absl::Span<const uint16_t> b, int m,
                                int n) {
  const int depth = static_cast<int>(a.size()) / m;
  std::vector<float> product(m * n);
  for (int i = 0; i < m * n; ++i) {
    for (int k = 0; k < depth; ++k) {
      product[i] +=
          emulation::FloatOfBF16(a[i % m + m * k]) * emulation::FloatOfBF16(b[i / m + n * k]);
    }
  }
  return product;
}

uint32_t PairAt(absl::Span<const uint16_t> numbers, const Layout& layout, int lane, int pair) {
  return numbers[layout(lane, 2 * pair)] |
         static_cast<uint32_t>(numbers[layout(lane, 2 * pair + 1)]) << 16;
}

// SM80_16x8x16_F32BF16BF16F32_TN and SM80_16x8x16_F32F16F16F32_TN.
TEST(CuteMapsTest, WarpsMultiply) {
  const Layout a_map = {{{4, 8}, {32, 1}}, {{2, 2, 2}, {16, 8, 128}}};
  const Layout b_map = {{{4, 8}, {16, 1}}, {{2, 2}, {8, 64}}};
  const Layout c_map = {{{4, 8}, {32, 1}}, {{2, 2}, {16, 8}}};
  const std::vector<uint16_t> a = Numbers(16 * 16, 0);
  const std::vector<uint16_t> b = Numbers(8 * 16, 3);
  std::vector<float> product(16 * 8);
  const absl::Status status = Launch({}, {}, [&] {
    uint32_t a_words[4];
    uint32_t b_words[2];
    float c[4] = {};
    for (int i = 0; i < 4; ++i) a_words[i] = PairAt(a, a_map, Lane(), i);
    for (int i = 0; i < 2; ++i) b_words[i] = PairAt(b, b_map, Lane(), i);
    MultiplyAddBF16(a_words, b_words, c);
    for (int i = 0; i < 4; ++i) product[c_map(Lane(), i)] = c[i];
  });
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(product, PlainProduct(a, b, 16, 8));
}

// SM75_U32x4_LDSM_N and SM75_U16x8_LDSM_T: bits of a lane's registers to bits of the 32 rows.
TEST(CuteMapsTest, MatricesAreLoaded) {
  const Layout plain = {{{32}, {32}}, {{32, 4}, {1, 1024}}};
  const Layout transposed = {{{4, 8}, {256, 16}}, {{16, 2, 4}, {1, 128, 1024}}};
  const absl::Status status = Launch({1, 1, 32, 512}, {}, [&] {
    const Shared<uint16_t> elements(SharedBase());
    for (int i = Lane(); i < 256; i += 32) elements[i] = static_cast<uint16_t>(i);
    SyncWarp();
    uint32_t words[2][4];
    LoadMatrices(elements.at(8 * Lane()), words[0]);
    LoadMatricesTransposed(elements.at(8 * Lane()), words[1]);
    for (int i = 0; i < 8; ++i) {
      EXPECT_EQ(words[0][i / 2] >> (16 * (i % 2)) & 0xFFFF, plain(Lane(), 16 * i) / 16u);
      EXPECT_EQ(words[1][i / 2] >> (16 * (i % 2)) & 0xFFFF, transposed(Lane(), 16 * i) / 16u);
    }
  });
  EXPECT_TRUE(status.ok()) << status;
}

// Places of `numbers` in shared memory from `at` on, swizzled.
void Place(absl::Span<const uint16_t> numbers, int rows, const Layout& map, int at) {
  if (ThreadInBlock() != 0) return;
  for (int i = 0; i < static_cast<int>(numbers.size()); ++i) {
    const auto offset = static_cast<uint32_t>(at + 2 * map(i % rows, i / rows));
    *reinterpret_cast<uint16_t*>(SharedBase() + Swizzled343(offset)) = numbers[i];
  }
}

// MMA_64x128x16_F32BF16BF16_SS and _RS over a depth of 128; operands in shared memory by
// tile_to_shape(GMMA::Layout_K_SW128_Atom, ...) and, the second B, Layout_MN_SW128_Atom with
// Step<_2, _1>. Descriptors are those of make_gmma_desc, but for where they begin.
TEST(CuteMapsTest, WarpgroupsMultiply) {
  const Layout c_map = {{{4, 8, 4}, {128, 1, 16}}, {{2, 2, 16}, {64, 8, 512}}};
  const Layout a_map = {{{4, 8, 4}, {128, 1, 16}}, {{2, 2, 2}, {64, 8, 512}}};
  const Layout a_rows = {{{8, 8}, {64, 512}}, {{64, 2}, {1, 4096}}};
  const Layout b_rows = {{{8, 16}, {64, 512}}, {{64, 2}, {1, 8192}}};
  const Layout b_columns = {{{64, 2}, {1, 8192}}, {{8, 16}, {64, 512}}};
  constexpr uint64_t kByRows = 0x4000004000010000;
  constexpr uint64_t kByColumns = 0x4000004004000000;
  const std::vector<uint16_t> a = Numbers(64 * 128, 0);
  const std::vector<uint16_t> b = Numbers(128 * 128, 5);
  std::vector<float> by_rows(64 * 128);
  std::vector<float> by_columns(64 * 128);
  constexpr int kB = 16 * 1024;  // where matrices lie
  constexpr int kColumns = 48 * 1024;
  const absl::Status status = Launch({1, 1, 128, 80 * 1024}, {}, [&] {
    Place(a, 64, a_rows, 0);
    Place(b, 128, b_rows, kB);
    Place(b, 128, b_columns, kColumns);
    SyncBlock();
    float sums[16][4] = {};
    float more[16][4] = {};
    uint32_t registers[8][4];
    for (int i = 0; i < 32; ++i) {
      registers[i / 4][i % 4] = PairAt(absl::MakeSpan(a).subspan(i / 4 * 64 * 16, 64 * 16), a_map,
                                       ThreadInBlock(), i % 4);
    }
    FenceProducts(sums, more, registers);
    for (int step = 0; step < 8; ++step) {
      // The next 16 of the depth: 32 bytes on by rows, a panel after four; 16 lines by columns.
      const int a_at = step / 4 * 8 * 1024 + step % 4 * 32;
      const int b_at = kB + step / 4 * 16 * 1024 + step % 4 * 32;
      const int columns_at = kColumns + step * 2048;
      EXPECT_EQ(DescribeMatrix(SharedBase() + b_at, 16, kPatternBytes), kByRows | b_at >> 4);
      EXPECT_EQ(DescribeMatrix(SharedBase() + columns_at, 128 * kLineBytes, kPatternBytes),
                kByColumns | columns_at >> 4);
      MultiplyShared<true>(sums, kByRows | a_at >> 4, kByRows | b_at >> 4, step > 0);
      MultiplyRegisters<true>(more, registers[step], kByColumns | columns_at >> 4);
    }
    CommitProducts();
    WaitForProducts<0>(sums);
    WaitForProducts<0>(more);
    for (int i = 0; i < 64; ++i) {
      by_rows[c_map(ThreadInBlock(), i)] = sums[i / 4][i % 4];
      by_columns[c_map(ThreadInBlock(), i)] = more[i / 4][i % 4];
    }
  });
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(by_rows, PlainProduct(a, b, 64, 128));
  EXPECT_EQ(by_columns, by_rows);
}

}  // namespace
}  // namespace reprise::engine::cuda
