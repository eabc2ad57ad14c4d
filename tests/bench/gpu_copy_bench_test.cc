#include "bench/gpu_copy_bench.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <set>
#include <string>

#include "tests/fakes/lazy_device.h"

namespace reprise::bench {
namespace {

using cachestore::CopyCrossovers;
using cachestore::CopyPiece;
using cachestore::LazyDevice;

absl::StatusOr<std::unique_ptr<cachestore::Device>> OpenLazy(const CopyCrossovers&) {
  return std::make_unique<LazyDevice>();
}

// Products that count.
class CountedProducts : public ProductLoop {
 public:
  explicit CountedProducts(cachestore::Device* device) : device_(device) {}
  absl::Status Enqueue(int count) override {
    for (int i = 0; i < count; ++i) {
      static_cast<LazyDevice::Queue*>(device_->Stream(cachestore::Lane::kCompute))->Enqueue([] {
        ++made;
      });
    }
    return absl::OkStatus();
  }
  std::string name() const override { return "none"; }
  double operations() const override { return 1; }

  static inline int made = 0;

 private:
  cachestore::Device* const device_;
};

absl::StatusOr<std::unique_ptr<ProductLoop>> OpenCounted(cachestore::Device* device) {
  return std::make_unique<CountedProducts>(device);
}

// On a device that is none: the suite runs to its end and measures every row.
TEST(GpuCopyBenchTest, QuickFormMeasuresEveryRow) {
  const auto rows = RunGpuCopyBench({.extent = Extent::kQuick}, OpenLazy, OpenCounted);
  ASSERT_TRUE(rows.ok()) << rows.status();
  std::set<std::string> metrics;
  for (const Result& row : *rows) {
    EXPECT_TRUE(metrics.insert(row.metric).second) << row.metric;
    EXPECT_TRUE(std::isfinite(row.ours) && row.ours > 0) << row.metric << " " << row.ours;
    EXPECT_TRUE(row.limit.has_value() || row.peer.has_value()) << row.metric;
  }
  for (const char* metric :
       {"gpu.copy_2mib_to_device", "gpu.copy_2mib_to_host", "gpu.copy_2mib_both",
        "gpu.copy_scattered_16kib_to_device", "gpu.copy_scattered_16kib_to_host",
        "gpu.copy_scattered_64kib_to_device", "gpu.copy_scattered_64kib_to_host",
        "gpu.copy_interference_2mib", "gpu.copy_beside_products_2mib",
        "gpu.copy_interference_16kib", "gpu.copy_beside_products_16kib",
        "gpu.copy_crossover_4kib_to_device", "gpu.copy_crossover_128kib_to_host"}) {
    EXPECT_TRUE(metrics.contains(metric)) << metric;
  }
  EXPECT_GT(CountedProducts::made, 0);
}

// Brings one byte back wrong.
class FlippingDevice : public LazyDevice {
 public:
  absl::Status Copy(cachestore::Lane lane, absl::Span<const CopyPiece> pieces) override {
    const absl::Status status = LazyDevice::Copy(lane, pieces);
    if (lane == cachestore::Lane::kToHost) {
      std::byte* const wrong = pieces[0].to;
      static_cast<Queue*>(Stream(lane))->Enqueue([wrong] { *wrong ^= std::byte{1}; });
    }
    return status;
  }
};

TEST(GpuCopyBenchTest, ADeviceThatChangesBytesIsNotMeasured) {
  const auto rows = RunGpuCopyBench(
      {.groups = {"blocks"}, .extent = Extent::kQuick},
      [](const CopyCrossovers&) { return std::make_unique<FlippingDevice>(); }, OpenCounted);
  EXPECT_EQ(rows.status().code(), absl::StatusCode::kDataLoss) << rows.status();
}

TEST(GpuCopyBenchTest, WithoutADeviceTheSuiteSaysWhy) {
  const auto rows = RunGpuCopyBench(
      {},
      [](const CopyCrossovers&) {
        return absl::StatusOr<std::unique_ptr<cachestore::Device>>(absl::NotFoundError("no card"));
      },
      OpenCounted);
  EXPECT_EQ(rows.status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace reprise::bench
