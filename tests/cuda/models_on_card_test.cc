// Models on CudaBackend, emulated, against what transformers computed and against the CPU backend.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "engine/backend/backend.h"
#include "engine/backend/kv_format.h"
#include "engine/model/demo_model.h"
#include "engine/model/model.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/cuda/emulated_card.h"
#include "tests/engine/model/model_folder.h"
#include "tests/engine/model/parity_fixture.h"

namespace reprise::engine::cuda {
namespace {

using cachestore::DType;

constexpr int32_t kBlockTokens = 16;
constexpr int64_t kMostBlocks = 8;  // of a sequence

// A sequence's next tokens as part of a batch.
struct Part {
  size_t sequence = 0;
  int64_t num_tokens = 1;
  bool wants_logits = true;
};
using Batch = std::vector<Part>;

// Sequences of one model on one backend.
class Sequences {
 public:
  // `places`: where blocks go; each sequence has kMostBlocks of them.
  Sequences(Model* model, Backend* backend, const cachestore::KvLayout& layout,
            std::vector<std::byte*> places, const std::vector<std::vector<uint32_t>>& texts)
      : model_(model), backend_(backend), layout_(layout), texts_(texts) {
    for (size_t i = 0; i < texts.size(); ++i) {
      const auto begin = places.begin() + static_cast<int64_t>(i) * kMostBlocks;
      blocks_.emplace_back(begin, begin + kMostBlocks);
    }
    computed_.resize(texts.size());
  }

  // Logits of those that want them, in order.
  absl::StatusOr<std::vector<float>> Run(const Batch& batch) {
    std::vector<SequenceChunk> chunks;
    for (const Part& part : batch) {
      int64_t& computed = computed_[part.sequence];
      chunks.push_back(
          {absl::MakeConstSpan(texts_[part.sequence]).subspan(computed, part.num_tokens), computed,
           blocks_[part.sequence], part.wants_logits});
      computed += part.num_tokens;
    }
    const absl::StatusOr<Activations> logits = model_->Forward(chunks, layout_);
    if (!logits.ok()) return logits.status();
    const absl::StatusOr<absl::Span<float>> rows = backend_->HostRows(*logits);
    if (!rows.ok()) return rows.status();
    return std::vector<float>(rows->begin(), rows->end());
  }

 private:
  Model* const model_;
  Backend* const backend_;
  const cachestore::KvLayout layout_;
  const std::vector<std::vector<uint32_t>> texts_;
  std::vector<std::vector<std::byte*>> blocks_;
  std::vector<int64_t> computed_;
};

std::unique_ptr<Model> Load(const std::string& folder, Backend* backend) {
  absl::StatusOr<std::unique_ptr<Model>> model = LoadModel(folder, backend);
  EXPECT_TRUE(model.ok()) << model.status();
  return model.ok() ? *std::move(model) : nullptr;
}

class FixtureOnCardTest : public testing::TestWithParam<std::string> {};

// Every family, in f32, which the generic attention kernel keeps: its prompt in chunks and rows.
TEST_P(FixtureOnCardTest, LogitsAreThoseOfTransformers) {
  const ParityFixture fixture(GetParam());
  EmulatedCard card;
  const std::unique_ptr<Model> model = Load(fixture.folder, card.backend());
  ASSERT_NE(model, nullptr);
  const cachestore::KvLayout layout = model->layout(kBlockTokens);
  Sequences sequences(model.get(), card.backend(), layout, card.Places(layout), {fixture.prompt});
  LogitsError error;
  const auto length = static_cast<int64_t>(fixture.prompt.size());
  for (int64_t done = 0; done < length;) {
    const int64_t count = std::min<int64_t>(done % 3 == 0 ? 7 : 1, length - done);
    const auto logits = sequences.Run({{0, count}});
    ASSERT_TRUE(logits.ok()) << logits.status();
    done += count;
    error.Add(*logits, fixture.logits_at(static_cast<size_t>(done) - 1));
  }
  // Products by bf16 weights round the activations.
  std::ifstream config(fixture.folder + "/config.json");
  const bool narrows = nlohmann::json::parse(config).value("dtype", "") == "bfloat16";
  EXPECT_LE(error.relative(), narrows ? 1e-2 : 1e-4);
}

INSTANTIATE_TEST_SUITE_P(Fixtures, FixtureOnCardTest, testing::ValuesIn(ParityFixtureNames()),
                         [](const auto& info) { return info.param; });

// A model whose heads the kernels on tensor cores take.
DemoModelOptions SmallModel(const std::string& family) {
  DemoModelOptions options;
  options.family = family;
  options.hidden_size = 128;
  options.num_layers = 2;
  options.num_heads = 2;  // of 64 dims
  options.num_kv_heads = family == "gpt2" ? 2 : 1;
  options.intermediate_size = 128;
  options.max_positions = 256;
  return options;
}

std::vector<std::vector<uint32_t>> RandomTexts() {
  std::mt19937 random(3);
  std::vector<std::vector<uint32_t>> texts(3, std::vector<uint32_t>(110));
  for (auto& text : texts) {
    for (uint32_t& token : text) token = random() % 256;
  }
  return texts;
}

// Chunks and single rows in every order; a chunk over several blocks behind a prefix that is not a
// whole block; the last rows of some sequences alone.
const Batch kBatches[] = {
    {{0, 37, false}},
    {{1, 1}, {0, 30}},
    {{2, 19, false}, {0}, {1, 17}},
    {{1}, {2}, {0}},
    {{0, 2}, {1, 1, false}, {2, 40, false}},
    {{2}, {1}},
};

// How far the card's logits are from the CPU's over all batches; infinite when a pass fails.
double ErrorOnCard(const std::string& folder, DType dtype, uint64_t seed,
                   PrefillKernel prefill = PrefillKernel::kMma) {
  const std::unique_ptr<Backend> cpu = NewCpuBackend(1);
  const std::unique_ptr<Model> reference = Load(folder, cpu.get());
  EmulatedCard card(seed, prefill);
  const std::unique_ptr<Model> model = Load(folder, card.backend());
  const cachestore::KvLayout layout = WithDType(model->layout(kBlockTokens), dtype);
  const auto texts = RandomTexts();
  std::vector<std::vector<std::byte>> memory(
      texts.size() * kMostBlocks, std::vector<std::byte>(layout.BytesPerBlock(), std::byte{0xFF}));
  std::vector<std::byte*> places;
  for (auto& block : memory) places.push_back(block.data());
  Sequences expected(reference.get(), cpu.get(), layout, places, texts);
  Sequences actual(model.get(), card.backend(), layout, card.Places(layout), texts);
  LogitsError error;
  for (const Batch& batch : kBatches) {
    const auto wanted = expected.Run(batch);
    const auto logits = actual.Run(batch);
    EXPECT_TRUE(wanted.ok() && logits.ok()) << logits.status();
    if (!wanted.ok() || !logits.ok()) return INFINITY;
    error.Add(*logits, *wanted);
  }
  return error.relative();
}

class ModelOnCardTest : public testing::TestWithParam<std::tuple<const char*, DType>> {};

TEST_P(ModelOnCardTest, LogitsAreTheCpus) {
  const auto& [family, dtype] = GetParam();
  const ModelFolder folder;
  ASSERT_TRUE(WriteDemoModel(SmallModel(family), folder.path()).ok());
  // Of the roundings of q and of weights to the type they are multiplied in.
  const bool coarse = dtype == DType::kBF16 || dtype == DType::kInt8;
  EXPECT_LE(ErrorOnCard(folder.path(), dtype, 0), coarse ? 3e-2 : 5e-3);
}

INSTANTIATE_TEST_SUITE_P(Formats, ModelOnCardTest,
                         testing::Combine(testing::Values("llama", "gpt2"),
                                          testing::Values(DType::kBF16, DType::kF16, DType::kF8E4M3,
                                                          DType::kInt8, DType::kInt4)),
                         [](const auto& info) {
                           return std::string(std::get<0>(info.param)) + "_" +
                                  std::string(cachestore::DTypeName(std::get<1>(info.param)));
                         });

// Logits of a prompt in one chunk.
std::vector<float> LogitsOfPrompt(const std::string& folder, DType dtype, PrefillKernel prefill) {
  EmulatedCard card(0, prefill);
  const std::unique_ptr<Model> model = Load(folder, card.backend());
  const cachestore::KvLayout layout = WithDType(model->layout(kBlockTokens), dtype);
  Sequences sequences(model.get(), card.backend(), layout, card.Places(layout), RandomTexts());
  const auto logits = sequences.Run({{0, 110}});
  EXPECT_TRUE(logits.ok()) << logits.status();
  return logits.ok() ? *logits : std::vector<float>();
}

TEST(ModelOnCardTest, ThePrefillKernelOfSm90IsTakenWhereItIsWantedAndFits) {
  const ModelFolder folder;
  ASSERT_TRUE(WriteDemoModel(SmallModel("llama"), folder.path()).ok());
  EXPECT_LE(ErrorOnCard(folder.path(), DType::kF16, 0, PrefillKernel::kSm90), 5e-3);
  // Its tiles are larger, which changes the order of sums.
  EXPECT_NE(LogitsOfPrompt(folder.path(), DType::kF16, PrefillKernel::kSm90),
            LogitsOfPrompt(folder.path(), DType::kF16, PrefillKernel::kMma));
  EXPECT_EQ(LogitsOfPrompt(folder.path(), DType::kInt8, PrefillKernel::kSm90),
            LogitsOfPrompt(folder.path(), DType::kInt8, PrefillKernel::kMma))
      << "it does not take int8";
}

TEST(ModelOnCardTest, WorkInAnyLegalOrderGivesTheSame) {
  const ModelFolder folder;
  ASSERT_TRUE(WriteDemoModel(SmallModel("llama"), folder.path()).ok());
  const double late = ErrorOnCard(folder.path(), DType::kF16, 0);
  EXPECT_LE(late, 5e-3);
  for (const uint64_t seed : {1, 2, 3}) {
    EXPECT_EQ(ErrorOnCard(folder.path(), DType::kF16, seed), late) << seed;
  }
}

TEST(ModelOnCardTest, AFailedDeviceIsTheErrorOfWhoWaitsForIt) {
  const ParityFixture fixture("llama_gqa_tied");
  EmulatedCard card;
  const std::unique_ptr<Model> model = Load(fixture.folder, card.backend());
  ASSERT_NE(model, nullptr);
  const cachestore::KvLayout layout = model->layout(kBlockTokens);
  Sequences sequences(model.get(), card.backend(), layout, card.Places(layout), {fixture.prompt});
  ASSERT_TRUE(sequences.Run({{0, 3}}).ok());
  card.device().Fail(absl::InternalError("the card fell off the bus"));
  EXPECT_EQ(sequences.Run({{0, 3}}).status().code(), absl::StatusCode::kInternal);
}

}  // namespace
}  // namespace reprise::engine::cuda
