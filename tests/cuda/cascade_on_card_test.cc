// CudaBackend reads a prefix that rows share once: by the places of their blocks, from step to
// step.
#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "engine/backend/cuda/cuda_backend.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/backend/cuda/paged_batch.h"
#include "tests/fakes/host_products.h"
#include "tests/fakes/lazy_device.h"

namespace reprise::engine::cuda {
namespace {

using cachestore::DType;
using cachestore::LazyDevice;

class CascadeOnCardTest : public testing::Test {
 protected:
  // Four rows that share 512 positions, a chunk and a row that share nothing, in between.
  CascadeOnCardTest()
      : batch_({4, 2, 64, 16, DType::kF16},
               {{600}, {3, 5}, {530, 1, 0, 512}, {70}, {512, 1, 0, 512}, {577, 1, 0, 512}}),
        backend_(NewCudaBackend(*MemoryCopy::Create(&device_), std::make_unique<HostProducts>())) {}

  // Attention of the first `num_sequences` sequences, whose rows come first.
  std::vector<float> Attend(size_t num_sequences, int64_t window) {
    std::vector<SequenceRows> sequences = batch_.BatchRows();
    sequences.resize(num_sequences);
    const int64_t rows = sequences.back().first_row + sequences.back().num_rows;
    const int64_t cols = int64_t{batch_.shape().heads} * batch_.shape().head_dim;
    const std::vector<uint32_t> ids(rows);
    const auto q = *backend_->Keep({batch_.q().data(), ElementType::kF32, rows, cols});
    const auto memory = *backend_->Reserve(rows * cols * sizeof(float));
    const Activations out = {reinterpret_cast<float*>(memory.bytes().data()), rows, cols};
    EXPECT_TRUE(backend_->BeginStep({ids, sequences, {}, batch_.layout()}).ok());
    backend_->Attention({reinterpret_cast<float*>(q.memory.bytes().data()), rows, cols},
                        StepRows::kAll, PagedBatch::kLayer,
                        {.scale = batch_.scale(), .window = window}, out);
    const absl::Status ended = backend_->EndStep();
    EXPECT_TRUE(ended.ok()) << ended;
    const auto read = backend_->HostRows(out);
    EXPECT_TRUE(read.ok()) << read.status();
    return std::vector<float>(read->begin(), read->end());
  }

  LazyDevice device_;
  PagedBatch batch_;
  std::unique_ptr<Backend> backend_;
};

TEST_F(CascadeOnCardTest, AgreesWithTheCpuBackend) {
  const size_t all = batch_.sequences().size();
  const std::vector<float> shared = Attend(all, 0);
  EXPECT_LE(batch_.WorstError(shared), batch_.tolerance());
  // A window that hides nothing: each row reads all it sees, and rounds otherwise.
  const std::vector<float> alone = Attend(all, 100'000);
  EXPECT_LE(batch_.WorstError(alone), batch_.tolerance());
  EXPECT_NE(shared, alone) << "no prefix was read once";
}

TEST_F(CascadeOnCardTest, EachStepHasGroupsOfItsOwn) {
  const size_t all = batch_.sequences().size();
  const std::vector<float> before = Attend(all, 0);
  // Without the last two there are too few for a group: each row is as it is without any.
  const std::vector<float> few = Attend(all - 2, 0);
  EXPECT_EQ(few, Attend(all - 2, 100'000));
  EXPECT_EQ(before, Attend(all, 0));
}

}  // namespace
}  // namespace reprise::engine::cuda
