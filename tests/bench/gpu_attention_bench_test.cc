#include "bench/gpu_attention_bench.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "tests/fakes/lazy_device.h"

namespace reprise::bench {
namespace {

using cachestore::CopyCrossovers;
using cachestore::Device;
using cachestore::LazyDevice;
using testing::HasSubstr;

absl::StatusOr<std::unique_ptr<Device>> OpenLazy(const CopyCrossovers&) {
  return std::make_unique<LazyDevice>();
}

// Attention at 50 GB/s of bf16 KV, and reading at 100; for prefill 2 s a launch.
class FakeWork : public AttentionWork {
 public:
  FakeWork(double seconds, double read_seconds) : seconds_(seconds), read_seconds_(read_seconds) {}
  absl::StatusOr<double> Seconds(int launches) override { return seconds_; }
  absl::StatusOr<double> ReadSeconds(int launches) override { return read_seconds_; }

 private:
  const double seconds_;
  const double read_seconds_;
};

AttentionWorkOr OpenFake(const AttentionShape& shape, const DecodeBatch& batch, bool shares) {
  const double tokens = std::accumulate(batch.lengths.begin(), batch.lengths.end(), 0.0) -
                        (shares ? (batch.lengths.size() - 1) * batch.shared : 0);
  const double bytes = tokens * 2 * 8 * 128 * cachestore::DTypeBits(shape.dtype) / 8.0;
  return std::make_unique<FakeWork>(bytes / 50e9, bytes / 100e9);
}

// On a card without the kernel for Hopper.
AttentionWorks FakeWorks() {
  return {[](Device*, const AttentionShape& shape, const DecodeBatch& batch) {
            return OpenFake(shape, batch, false);
          },
          [](Device*, const AttentionShape& shape, const DecodeBatch& batch) {
            return OpenFake(shape, batch, true);
          },
          [](Device*, const AttentionShape&, int32_t, PrefillKernel kernel) -> AttentionWorkOr {
            if (kernel == PrefillKernel::kHopper) return absl::UnimplementedError("another card");
            return std::make_unique<FakeWork>(2, 1);
          }};
}

class NoProducts : public ProductLoop {
 public:
  absl::Status Enqueue(int count) override { return absl::OkStatus(); }
  std::string name() const override { return "none"; }
  double operations() const override { return 1; }
};

absl::StatusOr<std::unique_ptr<ProductLoop>> OpenNoProducts(Device*) {
  return std::make_unique<NoProducts>();
}

std::map<std::string, Result> ByMetric(const std::vector<Result>& rows) {
  std::map<std::string, Result> by_metric;
  for (const Result& row : rows) EXPECT_TRUE(by_metric.emplace(row.metric, row).second);
  return by_metric;
}

TEST(GpuAttentionBenchTest, RowsSayWhatWasMeasured) {
  const auto rows =
      RunGpuAttentionBench({.extent = Extent::kQuick}, OpenLazy, FakeWorks(), OpenNoProducts);
  ASSERT_TRUE(rows.ok()) << rows.status();
  auto by_metric = ByMetric(*rows);
  const Result& decode = by_metric["gpu.decode_attention_3x100"];
  EXPECT_DOUBLE_EQ(decode.ours, 50);
  EXPECT_DOUBLE_EQ(*decode.limit, 100);
  EXPECT_FALSE(decode.peer.has_value());
  // As many tokens, so as many bytes; half as many bytes.
  const Result& skewed = by_metric["gpu.decode_attention_skewed_64x64"];
  EXPECT_NEAR(*skewed.OursOverLimit(), 1, 1e-9);
  EXPECT_NEAR(*by_metric["gpu.decode_attention_fp8_8x64"].OursOverLimit(), 0.5, 1e-9);
  // 512 + 4 x 128 tokens, and 4 x 640.
  EXPECT_NEAR(*by_metric["gpu.cascade_decode_4x512"].OursOverLimit(), 1024.0 / 2560, 1e-9);
  EXPECT_FALSE(by_metric.contains("gpu.prefill_attention_hopper_40"));
  // 4 x 128 dims x 32 heads x 40 x 41 / 2 positions, in 2 s.
  EXPECT_NEAR(by_metric["gpu.prefill_attention_40"].ours, 4 * 128 * 32 * 820 / 2e12, 1e-12);
}

TEST(GpuAttentionBenchTest, TheBestPeerStandsBesideOurs) {
  // Two libraries for decode, one for prefill; the second of two is faster: 1 ms, 0.5 ms.
  const std::string script =
      "echo ready two peers\n"
      "while read verb name launches work batch context; do\n"
      "  case \"$verb $name\" in\n"
      "  'libraries decode') echo slow fast ;;\n"
      "  'libraries prefill') echo slow ;;\n"
      "  'seconds slow') echo 1e-3 ;;\n"
      "  'seconds fast') echo 0.5e-3 ;;\n"
      "  *) echo ok ;;\n"
      "  esac\n"
      "done\n";
  const auto rows = RunGpuAttentionBench({.groups = {"decode", "prefill"},
                                          .peers = {"/bin/sh", "-c", script},
                                          .extent = Extent::kQuick},
                                         OpenLazy, FakeWorks(), OpenNoProducts);
  ASSERT_TRUE(rows.ok()) << rows.status();
  auto by_metric = ByMetric(*rows);
  const double bytes = 64 * 2 * 8 * 128 * 2;
  const Result& cell = by_metric["gpu.decode_attention_1x64"];
  EXPECT_DOUBLE_EQ(*cell.peer, bytes / 0.5e-3 / 1e9);
  EXPECT_EQ(cell.context.count("peer slow") + cell.context.count("peer fast"), 2u);
  // 1x64 and 3x100: 50 GB/s over 0.52 and 2.46.
  EXPECT_NEAR(by_metric["gpu.decode_attention_vs_peers"].ours,
              std::sqrt(50 / (bytes / 5e5) * 50 / (bytes / 64 * 300 / 5e5)), 1e-9);
  EXPECT_TRUE(by_metric["gpu.prefill_attention_40_vs_peers"].peer.has_value());
}

TEST(GpuAttentionBenchTest, APeerThatFailsIsNoFigure) {
  const auto rows = RunGpuAttentionBench(
      {.groups = {"decode"},
       .peers = {"/bin/sh", "-c",
                 "echo ready p; read a; echo one; while read a; do echo error out of memory; done"},
       .extent = Extent::kQuick},
      OpenLazy, FakeWorks(), OpenNoProducts);
  EXPECT_THAT(std::string(rows.status().message()), HasSubstr("error out of memory"));
}

TEST(GpuAttentionBenchTest, WithoutADeviceTheSuiteSaysWhy) {
  const auto rows = RunGpuAttentionBench(
      {},
      [](const CopyCrossovers&) {
        return absl::StatusOr<std::unique_ptr<Device>>(absl::NotFoundError("no card"));
      },
      FakeWorks(), OpenNoProducts);
  EXPECT_EQ(rows.status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace reprise::bench
