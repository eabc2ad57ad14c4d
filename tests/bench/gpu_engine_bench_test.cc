// The suite on an emulated card: two small layers, but the code that runs on a real one.
#include "bench/gpu_engine_bench.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bench/generated_model.h"
#include "engine/backend/cuda/cuda_backend.h"
#include "tests/fakes/host_products.h"
#include "tests/fakes/lazy_device.h"
#include "tests/fakes/lazy_graphs.h"

namespace reprise::bench {
namespace {

using cachestore::CopyCrossovers;
using cachestore::Device;
using cachestore::LazyDevice;
using engine::cuda::OpenedCard;

constexpr double kReadRate = 100e9;

class FakeReading : public AttentionWork {
 public:
  explicit FakeReading(double bytes) : bytes_(bytes) {}
  absl::StatusOr<double> Seconds(int) override { return 1; }
  absl::StatusOr<double> ReadSeconds(int) override { return bytes_ / kReadRate; }

 private:
  const double bytes_;
};

absl::StatusOr<OpenedCard> OpenEmulated() {
  OpenedCard card;
  card.device = std::make_unique<LazyDevice>(0, size_t{256} << 20);
  card.backend =
      engine::cuda::NewCudaBackend(*engine::cuda::MemoryCopy::Create(card.device.get()),
                                   std::make_unique<engine::cuda::HostProducts>(),
                                   std::make_unique<engine::cuda::LazyGraphs>(card.device.get()));
  return card;
}

GpuEngineBed EmulatedBed() {
  GpuEngineBed bed;
  bed.open_card = OpenEmulated;
  bed.open_device = [](const CopyCrossovers&) -> absl::StatusOr<std::unique_ptr<Device>> {
    return std::make_unique<LazyDevice>();
  };
  bed.works.decode = [](Device*, const AttentionShape& shape,
                        const DecodeBatch& batch) -> AttentionWorkOr {
    const double tokens = static_cast<double>(batch.lengths.size()) * batch.lengths[0];
    return std::make_unique<FakeReading>(tokens * 2 * shape.kv_heads * shape.head_dim * 2);
  };
  return bed;
}

std::map<std::string, Result> ByMetric(const std::vector<Result>& rows) {
  std::map<std::string, Result> by_metric;
  for (const Result& row : rows) EXPECT_TRUE(by_metric.emplace(row.metric, row).second);
  return by_metric;
}

TEST(GpuEngineBenchTest, DecodingStandsBesideReadingAndBesideThePeer) {
  // Half a second for whatever it is asked.
  const std::string script =
      "echo ready made up\n"
      "while read verb n rest; do\n"
      "  [ $verb = decode ] && n=$((8 * n))\n"
      "  printf 0.5; while [ $n -gt 0 ]; do printf ' 1'; n=$((n - 1)); done; echo\n"
      "done\n";
  const auto rows = RunGpuEngineBench(
      {.groups = {"decode_8"}, .peers = {"/bin/sh", "-c", script}, .extent = Extent::kQuick},
      EmulatedBed());
  ASSERT_TRUE(rows.ok()) << rows.status();
  auto by_metric = ByMetric(*rows);
  const Result& row = by_metric["gpu.decode_tokens_per_s_8"];
  EXPECT_GT(row.ours, 0);
  // Two layers of q, k, v, output and gated MLP, the head, three norms of 128; contexts of 17 and
  // one and a half of two rounds of 3 steps; 2 x 64 numbers of 2 bytes a token and layer.
  const double weights = 2 * (2 * (128 * 256 + 128 * 128 + 3 * 128 * 128) + 512 * 128 + 5 * 128);
  const double kv = 8 * (17 + 6 - 1.5) * 2 * 2 * 64 * 2;
  EXPECT_NEAR(*row.limit, kReadRate / (weights + kv) * 8, 1e-3 * *row.limit);
  EXPECT_DOUBLE_EQ(*by_metric["gpu.decode_tokens_per_s_8_vs_peer"].peer, 3 * 8 / 0.5);
}

TEST(GpuEngineBenchTest, APeerThatCannotComputeThePromptsIsNamedAndLeftOut) {
  const auto rows = RunGpuEngineBench(
      {.groups = {"decode_1"},
       .peers = {"/bin/sh", "-c", "echo ready p; while read a; do echo error out of memory; done"},
       .extent = Extent::kQuick},
      EmulatedBed());
  ASSERT_TRUE(rows.ok()) << rows.status();
  ASSERT_EQ(rows->size(), 1u);
  EXPECT_THAT((*rows)[0].context.at("peer"), testing::HasSubstr("out of memory"));
}

TEST(GpuEngineBenchTest, HitsComeFromRam) {
  const auto rows =
      RunGpuEngineBench({.groups = {"ttft_1k"}, .extent = Extent::kQuick}, EmulatedBed());
  ASSERT_TRUE(rows.ok()) << rows.status();
  auto by_metric = ByMetric(*rows);
  ASSERT_EQ(by_metric.size(), 2u);
  const Result& hit = by_metric["gpu.ttft_hit_96"];
  EXPECT_GT(hit.ours, 0);
  EXPECT_GT(*hit.limit, 0);
  EXPECT_EQ(hit.context.at("prefix_bytes"), std::to_string(6 * 8192));
  // An emulation computes far slower than it copies.
  EXPECT_GT(by_metric["gpu.ttft_speedup_96"].ours, 1);
}

TEST(GpuEngineBenchTest, WithoutACardThereAreNoRows) {
  GpuEngineBed bed = EmulatedBed();
  bed.open_card = []() -> absl::StatusOr<OpenedCard> { return absl::NotFoundError("no card"); };
  for (const char* group : {"decode_1", "ttft_100k"}) {
    const auto rows = RunGpuEngineBench({.groups = {group}, .extent = Extent::kQuick}, bed);
    EXPECT_EQ(rows.status(), absl::NotFoundError("no card"));
  }
}

TEST(GeneratedModelTest, TheGeometryIsThatOf8B) {
  // 8.03 billion weights less the embeddings.
  EXPECT_NEAR(static_cast<double>(GeneratedStepBytes(LlamaOf8B())), 2 * (8.03e9 - 0.525e9), 1e8);
}

}  // namespace
}  // namespace reprise::bench
