// The probes of tests/gpu under emulation: the tables that a card is held to are those that the
// kernels are tested with.
#include "tests/gpu/hopper_probe.cuh"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "tests/engine/backend/cuda/schedules.h"
#include "tests/gpu/hopper_probe_tables.h"

namespace reprise::engine::cuda {
namespace {

using emulation::Launch;
using emulation::Schedule;

template <typename Number>
std::vector<Number> RunProbe(const HopperProbeParams& params, int threads, size_t count,
                             void (*probe)(const HopperProbeParams&)) {
  const auto outputs = OnAllSchedules<Number>([&](const Schedule& schedule) {
    std::vector<Number> out(count);
    HopperProbeParams with_out = params;
    with_out.out = out.data();
    const absl::Status status =
        Launch({1, 1, threads, kProbeSharedBytes}, schedule, [&] { probe(with_out); });
    EXPECT_TRUE(status.ok()) << status;
    return out;
  });
  EXPECT_TRUE(AreSame(outputs));
  return outputs[0];
}

TEST(HopperProbeTest, ABoxLiesSwizzled) {
  const std::vector<uint16_t> tensor = ProbeTensor();
  HopperProbeParams params;
  params.map = {reinterpret_cast<const std::byte*>(tensor.data()), kProbeRows, kProbeColumns,
                kProbeBoxRows, 64};
  const std::vector<uint16_t> expected = ExpectedBox();
  EXPECT_EQ(Differences(RunProbe<uint16_t>(params, 32, expected.size(), ProbeBox), expected, 64),
            "");
}

TEST(HopperProbeTest, OutsideOfTheTensorIsZero) {
  const std::vector<uint16_t> tensor = ProbeTensor();
  HopperProbeParams params;  // ends in the box's fourth row
  params.map = {reinterpret_cast<const std::byte*>(tensor.data()), kProbeBoxRow + 4, kProbeColumns,
                kProbeBoxRows, 64};
  std::vector<uint16_t> expected = ExpectedBox();
  std::fill(expected.begin() + 4 * 64, expected.end(), 0);
  EXPECT_EQ(Differences(RunProbe<uint16_t>(params, 32, expected.size(), ProbeBox), expected, 64),
            "");
}

TEST(HopperProbeTest, MatricesByRowsMultiply) {
  const std::vector<uint16_t> a = ProbeOperand(64, 64);
  const std::vector<uint16_t> b = ProbeOperand(128, 64);
  HopperProbeParams params;
  params.in = a.data();
  params.in_b = b.data();
  const std::vector<float> expected = ExpectedProduct(a, b, /*b_transposed=*/true);
  EXPECT_EQ(
      Differences(RunProbe<float>(params, 128, expected.size(), ProbeProductOfRows), expected, 128),
      "");
}

TEST(HopperProbeTest, RegistersAndAMatrixByColumnsMultiply) {
  const std::vector<uint16_t> a = ProbeOperand(64, 64);
  const std::vector<uint16_t> b = ProbeOperand(64, 128);
  HopperProbeParams params;
  params.in = a.data();
  params.in_b = b.data();
  const std::vector<float> expected = ExpectedProduct(a, b, /*b_transposed=*/false);
  EXPECT_EQ(Differences(RunProbe<float>(params, 128, expected.size(), ProbeProductOfColumns),
                        expected, 128),
            "");
}

// A table that is the same for rows and columns, or in any other order, would hold nothing.
TEST(HopperProbeTest, TheTablesTellPlacesApart) {
  const std::vector<uint16_t> a = ProbeOperand(64, 64);
  const std::vector<uint16_t> b = ProbeOperand(128, 64);
  const std::vector<float> product = ExpectedProduct(a, b, true);
  for (int other = 1; other < 8; ++other) {
    std::vector<uint16_t> moved = b;  // pieces of 16 bytes of each row in another order
    for (size_t i = 0; i < b.size(); ++i) moved[i] = b[i ^ static_cast<size_t>(other * 8)];
    EXPECT_NE(Differences(ExpectedProduct(a, moved, true), product, 128), "");
    for (size_t i = 0; i < b.size(); ++i) moved[i] = b[(i + other * 64) % b.size()];
    EXPECT_NE(Differences(ExpectedProduct(a, moved, true), product, 128), "");
  }
}

}  // namespace
}  // namespace reprise::engine::cuda
