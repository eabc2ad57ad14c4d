#include "engine/backend/cuda/kernels/generic_attention.cuh"

#include <gtest/gtest.h>

#include <vector>

#include "tests/engine/backend/cuda/paged_batch.h"
#include "tests/engine/backend/cuda/schedules.h"

namespace reprise::engine::cuda {
namespace {

using cachestore::DType;
using emulation::Launch;
using emulation::Schedule;

std::vector<float> Attend(PagedBatch& batch, const Schedule& schedule) {
  std::vector<float> out = batch.PoisonedOut();
  GenericAttentionParams params;
  params.q = batch.q().data();
  params.out = out.data();
  params.kv = batch.kv();
  params.rows = batch.rows().data();
  params.heads = batch.shape().heads;
  params.window = batch.window();
  params.scale_log2 = batch.scale_log2();
  params.softcap_log2 = batch.shape().softcap * 1.44269504f;
  const LaunchShape shape =
      GenericAttentionShape(static_cast<int>(batch.rows().size()), params.heads);
  const absl::Status status = Launch({shape.grid_x, shape.grid_y, shape.threads}, schedule,
                                     [&] { GenericAttentionBlock(params); });
  EXPECT_TRUE(status.ok()) << status;
  return out;
}

// Decode and prefill rows alike; every type, and what no tile divides.
TEST(GenericAttentionTest, AgreesWithTheCpuBackend) {
  for (const PagedShape& shape : {
           PagedShape{3, 1, 5, 3, DType::kF32},
           PagedShape{4, 2, 80, 16, DType::kF32, 9},
           PagedShape{2, 1, 40, 7, DType::kInt4},
           PagedShape{2, 1, 33, 5, DType::kInt8},
           PagedShape{2, 1, 256, 16, DType::kF8E4M3},
           PagedShape{2, 1, 18, 4, DType::kF16, 3},
           PagedShape{2, 1, 96, 16, DType::kBF16},
           PagedShape{2, 1, 64, 16, DType::kBF16, 0, 0.5f},
       }) {
    PagedBatch batch(shape, {{0}, {30}, {31, 3}, {64}, {0, 5}});
    const auto outputs =
        OnAllSchedules<float>([&](const Schedule& schedule) { return Attend(batch, schedule); });
    EXPECT_TRUE(AreSame(outputs)) << shape.Name();
    EXPECT_LE(batch.WorstError(outputs[0]), 2e-6) << shape.Name();
  }
}

}  // namespace
}  // namespace reprise::engine::cuda
