// Models on CudaBackend against the CPU backend, on a card with cuBLASLt's products, or emulated: a
// prompt in two chunks, then the tokens that the CPU's model chooses, one by one.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/backend/backend.h"
#include "engine/backend/cuda/cuda_backend.h"
#include "engine/backend/kv_format.h"
#include "engine/model/demo_model.h"
#include "engine/model/model.h"
#include "tests/engine/model/model_folder.h"
#include "tests/fakes/test_seed.h"
#include "tests/gpu/kernel_bed.h"
#include "tests/gpu/kernel_products.h"

namespace reprise::engine::cuda {
namespace {

using cachestore::DType;

constexpr int32_t kBlockTokens = 16;

// One sequence of a model.
class Sequence {
 public:
  Sequence(const std::string& folder, Backend* backend, DType dtype)
      : backend_(backend), model_(*LoadModel(folder, backend)) {
    layout_ = WithDType(model_->layout(kBlockTokens), dtype);
  }

  const cachestore::KvLayout& layout() const { return layout_; }
  // Where its blocks lie. REQUIRES: called before Append.
  void Place(std::vector<std::byte*> blocks) { blocks_ = std::move(blocks); }

  // The logits behind `tokens`.
  std::vector<float> Append(const std::vector<uint32_t>& tokens) {
    const SequenceChunk chunk = {tokens, length_, blocks_, /*wants_logits=*/true};
    length_ += static_cast<int64_t>(tokens.size());
    const absl::StatusOr<Activations> logits = model_->Forward({chunk}, layout_);
    EXPECT_TRUE(logits.ok()) << logits.status();
    if (!logits.ok()) return {};
    const absl::StatusOr<absl::Span<float>> row = backend_->HostRows(*logits);
    EXPECT_TRUE(row.ok()) << row.status();
    return row.ok() ? std::vector<float>(row->begin(), row->end()) : std::vector<float>();
  }

 private:
  Backend* const backend_;
  const std::unique_ptr<Model> model_;
  cachestore::KvLayout layout_;
  std::vector<std::byte*> blocks_;
  int64_t length_ = 0;
};

class ModelParityTest : public testing::Test {
 protected:
  void SetUp() override {
    auto device = OpenKernelDevice();
    if (device.status().code() == absl::StatusCode::kNotFound) GTEST_SKIP() << device.status();
    ASSERT_TRUE(device.ok()) << device.status();
    device_ = *std::move(device);
    auto memory = MemoryCopy::Create(device_.get());
    ASSERT_TRUE(memory.ok()) << memory.status();
    auto products = OpenKernelProducts(memory->get());
    ASSERT_TRUE(products.ok()) << products.status();
    card_ = NewCudaBackend(*std::move(memory), *std::move(products), nullptr, prefill());
  }
  virtual PrefillKernel prefill() const { return PrefillKernel::kMma; }

  // Heads of 64 dims, which the kernels on tensor cores take.
  static DemoModelOptions SmallModel(const std::string& family) {
    const bool is_small = KernelsAreEmulated();
    DemoModelOptions options;
    options.family = family;
    options.hidden_size = is_small ? 128 : 1024;
    options.num_layers = is_small ? 2 : 4;
    options.num_heads = options.hidden_size / 64;
    options.num_kv_heads = family == "gpt2" ? options.num_heads : options.num_heads / 2;
    options.intermediate_size = 2 * options.hidden_size;
    options.max_positions = 512;
    options.dtype = ElementType::kF32;
    return options;
  }

  // The card's logits against the CPU's, |difference| / |CPU's|, over all steps. `wrong_token`: the
  // card is given another first token.
  double ErrorOnCard(const std::string& family, DType dtype, bool wrong_token = false) {
    const ModelFolder folder;
    EXPECT_TRUE(WriteDemoModel(SmallModel(family), folder.path()).ok());
    const std::unique_ptr<Backend> cpu = NewCpuBackend(0);
    Sequence expected(folder.path(), cpu.get(), dtype);
    Sequence actual(folder.path(), card_.get(), dtype);
    const int prompt = KernelsAreEmulated() ? 45 : 300;
    const int answer = KernelsAreEmulated() ? 4 : 40;
    const size_t units =
        (expected.layout().BytesPerBlock() + kBlockUnit - 1) / kBlockUnit * kBlockUnit;
    const size_t num_blocks = (prompt + answer) / kBlockTokens + 1;
    const auto own = device_->Reserve(num_blocks * units);
    EXPECT_TRUE(own.ok()) << own.status();
    std::vector<std::byte> memory(num_blocks * units, std::byte{0xFF});
    expected.Place(Blocks(memory.data(), units, num_blocks));
    actual.Place(Blocks(own->bytes().data(), units, num_blocks));

    std::vector<uint32_t> first(prompt - 8);
    std::vector<uint32_t> second(8);
    for (uint32_t& token : first) token = random_() % 256;
    for (uint32_t& token : second) token = random_() % 256;
    std::vector<uint32_t> for_card = first;
    if (wrong_token) for_card[0] = (for_card[0] + 1) % 256;
    double difference = 0;
    double size = 0;
    const auto compare = [&](const std::vector<float>& wanted, const std::vector<float>& logits) {
      ASSERT_EQ(wanted.size(), logits.size());
      for (size_t i = 0; i < wanted.size(); ++i) {
        difference += (double{logits[i]} - wanted[i]) * (double{logits[i]} - wanted[i]);
        size += double{wanted[i]} * wanted[i];
      }
    };
    compare(expected.Append(first), actual.Append(for_card));
    std::vector<uint32_t> next = second;
    for (int step = 0; step <= answer && !HasFailure(); ++step) {
      const std::vector<float> wanted = expected.Append(next);
      compare(wanted, actual.Append(next));
      const auto best = std::max_element(wanted.begin(), wanted.end());
      next = {static_cast<uint32_t>(best - wanted.begin())};
    }
    const double error = std::sqrt(difference / size);
    return std::isnan(error) ? INFINITY : error;
  }

 private:
  // In reverse order.
  static std::vector<std::byte*> Blocks(std::byte* begin, size_t bytes, size_t count) {
    std::vector<std::byte*> blocks;
    for (size_t i = count; i-- > 0;) blocks.push_back(begin + i * bytes);
    return blocks;
  }

  std::mt19937 random_{TestSeed()};
  std::unique_ptr<cachestore::Device> device_;
  std::unique_ptr<Backend> card_;
};

TEST_F(ModelParityTest, LogitsAreTheCpus) {
  for (const char* family : {"llama", "gpt2"}) {
    EXPECT_LE(ErrorOnCard(family, DType::kF32), 1e-3) << family;
    // Of the roundings of q and of weights to the type that they are multiplied in.
    EXPECT_LE(ErrorOnCard(family, DType::kF16), 5e-3) << family;
    for (const DType dtype : {DType::kBF16, DType::kInt8, DType::kF8E4M3}) {
      EXPECT_LE(ErrorOnCard(family, dtype), 3e-2) << family << " " << cachestore::DTypeName(dtype);
    }
  }
}

// Prefill by the kernel of sm_90a, where it takes the KV.
class ModelParityOnHopperTest : public ModelParityTest {
 protected:
  void SetUp() override {
    ModelParityTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    if (const std::string why = WhyNotHopper(); !why.empty()) GTEST_SKIP() << why;
  }
  PrefillKernel prefill() const override { return PrefillKernel::kSm90; }
};

TEST_F(ModelParityOnHopperTest, LogitsAreTheCpus) {
  for (const char* family : {"llama", "gpt2"}) {
    EXPECT_LE(ErrorOnCard(family, DType::kF16), 5e-3) << family;
    EXPECT_LE(ErrorOnCard(family, DType::kBF16), 3e-2) << family;
  }
}

TEST_F(ModelParityOnHopperTest, AnotherTokenIsSeen) {
  EXPECT_GT(ErrorOnCard("llama", DType::kBF16, /*wrong_token=*/true), 3e-2);
}

TEST_F(ModelParityTest, AnotherTokenIsSeen) {
  EXPECT_GT(ErrorOnCard("llama", DType::kBF16, /*wrong_token=*/true), 3e-2);
}

}  // namespace
}  // namespace reprise::engine::cuda
