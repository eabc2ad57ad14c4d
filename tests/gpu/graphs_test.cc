// Decode steps as graphs against the same steps launch by launch, bit for bit, on a card or
// emulated: batches that grow and shrink, tables that become wider, memory that moves, and steps in
// between that are none of their kind.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "engine/backend/backend.h"
#include "engine/backend/cuda/cuda_backend.h"
#include "engine/backend/kv_format.h"
#include "engine/model/demo_model.h"
#include "engine/model/model.h"
#include "tests/engine/model/model_folder.h"
#include "tests/gpu/kernel_bed.h"
#include "tests/gpu/kernel_products.h"

namespace reprise::engine::cuda {
namespace {

using cachestore::Device;
using cachestore::DType;

constexpr int32_t kBlockTokens = 8;
constexpr size_t kMostBlocks = 40;  // of a sequence

// What a recorder did, and whether it does what it should.
struct Recorded {
  int recorded = 0;
  int launched = 0;
  bool refuses = false;  // from now on nothing can be recorded
  bool launches = true;  // else a graph is launched, and nothing comes of it
};

class CountingGraphs : public GraphRecorder {
 public:
  CountingGraphs(std::unique_ptr<GraphRecorder> recorder, Recorded* counts)
      : recorder_(std::move(recorder)), counts_(counts) {}

  GraphOr Record(absl::FunctionRef<absl::Status(cudaStream_t)> give,
                 std::unique_ptr<Graph> old) override {
    if (counts_->refuses) return absl::InternalError("no graphs today");
    ++counts_->recorded;
    return recorder_->Record(give, std::move(old));
  }
  absl::Status Launch(Graph& graph) override {
    ++counts_->launched;
    return counts_->launches ? recorder_->Launch(graph) : absl::OkStatus();
  }

 private:
  const std::unique_ptr<GraphRecorder> recorder_;
  Recorded* const counts_;
};

// A sequence's next tokens as part of a batch.
struct Part {
  size_t sequence = 0;
  size_t num_tokens = 1;
  bool wants_logits = true;
  LayerArrival* arrival = nullptr;
};
using Batch = std::vector<Part>;

// A model on a backend of its own, and sequences of random tokens.
class Side {
 public:
  Side(const std::string& folder, Device* device, std::unique_ptr<GraphRecorder> recorder) {
    auto memory = MemoryCopy::Create(device);
    EXPECT_TRUE(memory.ok()) << memory.status();
    auto products = OpenKernelProducts(memory->get());
    EXPECT_TRUE(products.ok()) << products.status();
    backend_ = NewCudaBackend(*std::move(memory), *std::move(products), std::move(recorder));
    model_ = *LoadModel(folder, backend_.get());
    layout_ = WithDType(model_->layout(kBlockTokens), DType::kBF16);
    const size_t bytes = (layout_.BytesPerBlock() + kBlockUnit - 1) / kBlockUnit * kBlockUnit;
    arena_ = *device->Reserve(kSequences * kMostBlocks * bytes);
    std::mt19937 random(7);
    for (size_t s = 0; s < kSequences; ++s) {
      for (size_t b = 0; b < kMostBlocks; ++b) {
        blocks_[s].push_back(arena_.bytes().data() + (b * kSequences + s) * bytes);
      }
      texts_[s].resize(kMostBlocks * kBlockTokens);
      for (uint32_t& token : texts_[s]) token = random() % 256;
    }
  }

  // Logits of those that want them, in order.
  std::vector<float> Run(const Batch& batch) {
    std::vector<SequenceChunk> chunks;
    for (const Part& part : batch) {
      size_t& computed = computed_[part.sequence];
      chunks.push_back(
          {absl::MakeConstSpan(texts_[part.sequence]).subspan(computed, part.num_tokens),
           static_cast<int64_t>(computed), blocks_[part.sequence], part.wants_logits,
           part.arrival});
      computed += part.num_tokens;
    }
    const absl::StatusOr<Activations> logits = model_->Forward(chunks, layout_);
    EXPECT_TRUE(logits.ok()) << logits.status();
    if (!logits.ok()) return {};
    const absl::StatusOr<absl::Span<float>> rows = backend_->HostRows(*logits);
    EXPECT_TRUE(rows.ok()) << rows.status();
    return rows.ok() ? std::vector<float>(rows->begin(), rows->end()) : std::vector<float>();
  }

 private:
  static constexpr size_t kSequences = 4;

  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Model> model_;
  cachestore::KvLayout layout_;
  cachestore::DeviceBytes arena_;
  std::vector<std::byte*> blocks_[kSequences];
  std::vector<uint32_t> texts_[kSequences];
  size_t computed_[kSequences] = {};
};

class GraphsTest : public testing::Test {
 protected:
  void SetUp() override {
    auto device = OpenKernelDevice();
    if (device.status().code() == absl::StatusCode::kNotFound) GTEST_SKIP() << device.status();
    ASSERT_TRUE(device.ok()) << device.status();
    device_ = *std::move(device);
    DemoModelOptions options;
    options.family = "llama";
    options.hidden_size = KernelsAreEmulated() ? 128 : 1024;
    options.num_layers = KernelsAreEmulated() ? 2 : 4;
    options.num_heads = options.hidden_size / 64;
    options.num_kv_heads = options.num_heads / 2;
    options.intermediate_size = 2 * options.hidden_size;
    options.max_positions = 512;
    options.dtype = ElementType::kBF16;
    ASSERT_TRUE(WriteDemoModel(options, folder_.path()).ok());
    auto recorder = OpenKernelGraphs(device_.get());
    ASSERT_TRUE(recorder.ok()) << recorder.status();
    plain_ = std::make_unique<Side>(folder_.path(), device_.get(), nullptr);
    graphs_ =
        std::make_unique<Side>(folder_.path(), device_.get(),
                               std::make_unique<CountingGraphs>(*std::move(recorder), &counts_));
  }

  // Both run `batch`, `times` times; whether the logits are the same each time.
  bool Agree(const Batch& batch, int times = 1) {
    for (int i = 0; i < times; ++i) {
      const std::vector<float> expected = plain_->Run(batch);
      if (expected.empty() || graphs_->Run(batch) != expected) return false;
    }
    return true;
  }

  const ModelFolder folder_;
  Recorded counts_;
  std::unique_ptr<Device> device_;
  std::unique_ptr<Side> plain_;
  std::unique_ptr<Side> graphs_;
};

TEST_F(GraphsTest, GraphsGiveTheBitsOfLaunches) {
  const Batch three = {{0}, {1}, {2}};
  // Prompts are launched. The first is two blocks short of a wider table.
  ASSERT_TRUE(Agree({{0, 118}, {1, 20}, {2, 37, false}}));
  EXPECT_EQ(counts_.launched, 0);
  // The first step of a shape is launched, the second recorded.
  ASSERT_TRUE(Agree(three, 5));
  EXPECT_EQ(std::pair(counts_.recorded, counts_.launched), std::pair(1, 4));
  ASSERT_TRUE(Agree({{1}}, 3));
  EXPECT_EQ(std::pair(counts_.recorded, counts_.launched), std::pair(2, 6));
  // The graph of three rows is still good, for four steps more; then the table is wider.
  ASSERT_TRUE(Agree(three, 5));
  EXPECT_EQ(std::pair(counts_.recorded, counts_.launched), std::pair(2, 11));
  ASSERT_TRUE(Agree(three, 2));
  EXPECT_EQ(std::pair(counts_.recorded, counts_.launched), std::pair(3, 12));
  // A prompt for which memory moves.
  ASSERT_TRUE(Agree({{3, 200}}));
  ASSERT_TRUE(Agree(three, 3));
  EXPECT_EQ(std::pair(counts_.recorded, counts_.launched), std::pair(4, 14));
  // Chunks beside rows, and rows whose logits nobody wants.
  ASSERT_TRUE(Agree({{0}, {3, 5}, {1}}));
  ASSERT_TRUE(Agree({{0}, {1, 1, false}, {2}}, 3));
  EXPECT_EQ(std::pair(counts_.recorded, counts_.launched), std::pair(4, 14));
  ASSERT_TRUE(Agree(three));
  EXPECT_EQ(counts_.launched, 15);
}

// The first step of all rounds more and more numbers at a time.
TEST_F(GraphsTest, AStepDuringWhichMemoryMovesIsLaunched) {
  ASSERT_TRUE(Agree({{0}}, 4));
  EXPECT_EQ(std::pair(counts_.recorded, counts_.launched), std::pair(1, 2));
}

// Attention is cut into more and more pieces.
TEST_F(GraphsTest, AGraphIsGoodForEveryPlan) {
  ASSERT_TRUE(Agree({{0, 30}}));
  ASSERT_TRUE(Agree({{0}}, 36));
  EXPECT_EQ(std::pair(counts_.recorded, counts_.launched), std::pair(1, 35));
}

// KV that is there already, and comes for a step that must not wait for all of it.
struct Arrived : LayerArrival {
  absl::Status AwaitLayer(int32_t) override { return absl::OkStatus(); }
};

TEST_F(GraphsTest, WhatWaitsForLayersIsLaunchedOneByOne) {
  ASSERT_TRUE(Agree({{0, 20}}));
  ASSERT_TRUE(Agree({{0}}, 3));
  EXPECT_EQ(counts_.launched, 2);
  Arrived arrived;
  ASSERT_TRUE(Agree({{0, 1, true, &arrived}}, 3));
  EXPECT_EQ(counts_.launched, 2);
}

TEST_F(GraphsTest, WhereNothingCanBeRecordedStepsAreLaunched) {
  counts_.refuses = true;
  ASSERT_TRUE(Agree({{0, 20}, {1, 9}}));
  ASSERT_TRUE(Agree({{0}, {1}}, 3));
  EXPECT_EQ(counts_.launched, 0);
}

TEST_F(GraphsTest, AGraphThatDoesNothingIsSeen) {
  ASSERT_TRUE(Agree({{0, 20}, {1, 9}}));
  ASSERT_TRUE(Agree({{0}, {1}}, 3));
  counts_.launches = false;
  EXPECT_FALSE(Agree({{0}, {1}}));
}

}  // namespace
}  // namespace reprise::engine::cuda
