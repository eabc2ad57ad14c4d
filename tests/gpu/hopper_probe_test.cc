// The probes on a card of compute capability 9.0; the first thing to run on one.
#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "tests/gpu/hopper_probe_params.h"
#include "tests/gpu/hopper_probe_tables.h"

namespace reprise::engine::cuda {
namespace {

class HopperProbeTest : public testing::Test {
 protected:
  void SetUp() override {
    int cards = 0;
    if (const cudaError_t error = cudaGetDeviceCount(&cards); error != cudaSuccess || cards == 0) {
      GTEST_SKIP() << "there is no card: " << cudaGetErrorString(error);
    }
    cudaDeviceProp card;
    ASSERT_EQ(cudaGetDeviceProperties(&card, 0), cudaSuccess);
    if (card.major == 9 && card.minor == 0) return;
    // Words that stages.sh knows.
    GTEST_SKIP() << "not for this card: it is of compute capability " << card.major << "."
                 << card.minor << ", not 9.0";
  }
};

template <typename Number>
std::vector<Number> RunProbe(HopperProbe probe, const std::vector<uint16_t>& in,
                             const std::vector<uint16_t>& in_b, size_t count) {
  std::vector<Number> out(count);
  const std::string error = RunHopperProbe(probe, in.data(), in.size() * 2, in_b.data(),
                                           in_b.size() * 2, out.data(), count * sizeof(Number));
  EXPECT_EQ(error, "");
  return out;
}

TEST_F(HopperProbeTest, ABoxLiesSwizzled) {
  const std::vector<uint16_t> expected = ExpectedBox();
  const auto box = RunProbe<uint16_t>(HopperProbe::kBox, ProbeTensor(), {}, expected.size());
  EXPECT_EQ(Differences(box, expected, 64), "");
}

TEST_F(HopperProbeTest, MatricesByRowsMultiply) {
  const std::vector<uint16_t> a = ProbeOperand(64, 64);
  const std::vector<uint16_t> b = ProbeOperand(128, 64);
  const std::vector<float> expected = ExpectedProduct(a, b, /*b_transposed=*/true);
  const auto product = RunProbe<float>(HopperProbe::kProductOfRows, a, b, expected.size());
  EXPECT_EQ(Differences(product, expected, 128), "");
}

TEST_F(HopperProbeTest, RegistersAndAMatrixByColumnsMultiply) {
  const std::vector<uint16_t> a = ProbeOperand(64, 64);
  const std::vector<uint16_t> b = ProbeOperand(64, 128);
  const std::vector<float> expected = ExpectedProduct(a, b, /*b_transposed=*/false);
  const auto product = RunProbe<float>(HopperProbe::kProductOfColumns, a, b, expected.size());
  EXPECT_EQ(Differences(product, expected, 128), "");
}

}  // namespace
}  // namespace reprise::engine::cuda
