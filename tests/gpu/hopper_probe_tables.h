// What the probes of hopper_probe.cuh are given and must give, in plain loops.
#pragma once

#include <bit>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/gpu/hopper_probe_params.h"

namespace reprise::engine::cuda {

// The tensor that boxes are of: each element its number.
inline std::vector<uint16_t> ProbeTensor() {
  std::vector<uint16_t> tensor(kProbeRows * kProbeColumns);
  for (size_t i = 0; i < tensor.size(); ++i) tensor[i] = static_cast<uint16_t>(i);
  return tensor;
}

// Line r of the box holds its 16-byte piece p in place p ^ (r % 8).
inline std::vector<uint16_t> ExpectedBox() {
  std::vector<uint16_t> lines(kProbeBoxRows * 64);
  for (int r = 0; r < kProbeBoxRows; ++r) {
    for (int c = 0; c < 64; ++c) {
      const int place = (c / 8 ^ r % 8) * 8 + c % 8;
      lines[r * 64 + place] =
          static_cast<uint16_t>((kProbeBoxRow + r) * kProbeColumns + kProbeBoxColumn + c);
    }
  }
  return lines;
}

// bf16 numbers between -4 and 4 that no other place of the matrix's row or column shares by chance:
// sums of their products are whole numbers.
inline std::vector<uint16_t> ProbeOperand(int rows, int columns) {
  std::vector<uint16_t> operand;
  for (int i = 0; i < rows * columns; ++i) {
    const int number = (i / columns * 7 + i % columns * 5 + i / 11) % 9 - 4;
    operand.push_back(
        static_cast<uint16_t>(std::bit_cast<uint32_t>(static_cast<float>(number)) >> 16));
  }
  return operand;
}

// A [64][64] times B [64][128], which is given as it is or transposed.
inline std::vector<float> ExpectedProduct(const std::vector<uint16_t>& a,
                                          const std::vector<uint16_t>& b, bool b_transposed) {
  const auto number = [](uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); };
  std::vector<float> product(64 * 128);
  for (int row = 0; row < 64; ++row) {
    for (int column = 0; column < 128; ++column) {
      for (int k = 0; k < 64; ++k) {
        product[row * 128 + column] +=
            number(a[row * 64 + k]) *
            number(b_transposed ? b[column * 64 + k] : b[k * 128 + column]);
      }
    }
  }
  return product;
}

// The first places, of rows of `columns`, in which `got` is not what was expected; empty: none.
template <typename Number>
std::string Differences(const std::vector<Number>& got, const std::vector<Number>& expected,
                        int columns) {
  std::string text;
  int count = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    if (got[i] == expected[i]) continue;
    if (++count <= 16) {
      absl::StrAppend(&text, "row ", i / columns, " column ", i % columns, ": ", got[i],
                      ", expected ", expected[i], "\n");
    }
  }
  return count == 0 ? "" : absl::StrCat(count, " of ", expected.size(), " differ:\n", text);
}

}  // namespace reprise::engine::cuda
