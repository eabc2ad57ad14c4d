// The model code against transformers, on the tiny models of tests/parity/make_fixtures.py.

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "engine/model/model.h"
#include "engine/model/safetensors.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/model/kv_sequence.h"
#include "tests/engine/model/parity_fixture.h"

namespace reprise::engine {
namespace {

constexpr int32_t kBlockTokens = 8;

// Of the relative L2 error.
constexpr double kBound = 1e-4;

// Calls fn(rope) for rope_parameters, or for those of each type of layers.
template <typename Fn>
void ForEachRope(nlohmann::json& config, const Fn& fn) {
  nlohmann::json& ropes = config.at("rope_parameters");
  if (ropes.contains("rope_theta")) return fn(ropes);
  for (nlohmann::json& rope : ropes) fn(rope);
}

class ParityTest : public ::testing::TestWithParam<std::string> {
 protected:
  ParityTest() : expected_(GetParam()) {
    auto model = LoadModel(expected_.folder, backend_.get());
    EXPECT_TRUE(model.ok()) << model.status();
    if (model.ok()) model_ = *std::move(model);
  }
  void SetUp() override { ASSERT_NE(model_, nullptr); }

  KvSequence NewSequence() const { return KvSequence(model_.get(), 160, kBlockTokens); }
  absl::Span<const uint32_t> prompt() const { return expected_.prompt; }

  void ExpectClose(const LogitsError& error) {
    RecordProperty("relative_error", std::to_string(error.relative()));
    printf("%s: relative L2 error %.2e\n", GetParam().c_str(), error.relative());
    EXPECT_LT(error.relative(), kBound);
  }

  // Logits of every prompt position, each computed by a whole prompt that ends there.
  std::vector<float> AllLogits() const {
    std::vector<float> all;
    for (size_t end = 1; end <= prompt().size(); ++end) {
      KvSequence sequence = NewSequence();
      const std::vector<float> logits = sequence.Run(prompt().first(end));
      all.insert(all.end(), logits.begin(), logits.end());
    }
    return all;
  }

  const ParityFixture expected_;
  // The reference is f32, so no activation may be rounded to bf16 here.
  const std::unique_ptr<Backend> backend_ = NewCpuBackend(1, BF16Products::kExact);
  std::unique_ptr<Model> model_;
};

TEST_P(ParityTest, WholePromptsGiveTheReferenceLogits) {
  LogitsError error;
  error.Add(AllLogits(), expected_.logits);
  ExpectClose(error);
}

TEST_P(ParityTest, TokenByTokenGivesTheReferenceLogits) {
  KvSequence sequence = NewSequence();
  LogitsError error;
  for (size_t i = 0; i < prompt().size(); ++i) {
    error.Add(sequence.Run(prompt().subspan(i, 1)), expected_.logits_at(i));
  }
  ExpectClose(error);
}

TEST_P(ParityTest, ChunksOfAnySizeGiveTheSameBits) {
  const std::vector<float> whole = AllLogits();
  for (const size_t chunk_tokens : {size_t{1}, size_t{3}, size_t{8}, size_t{17}}) {
    KvSequence sequence = NewSequence();
    for (size_t at = 0; at < prompt().size(); at += chunk_tokens) {
      const size_t end = std::min(at + chunk_tokens, prompt().size());
      const std::vector<float> logits = sequence.Run(prompt().subspan(at, end - at));
      EXPECT_EQ(std::memcmp(logits.data(), &whole[(end - 1) * expected_.vocab_size],
                            logits.size() * sizeof(float)),
                0)
          << "chunks of " << chunk_tokens << ", token " << end - 1;
    }
  }
}

TEST_P(ParityTest, SequencesInOneBatchDoNotTouchEachOther) {
  // Three sequences in step: one decodes, one prefills in pieces, one starts late and wants logits
  // at its end only.
  const auto& second = expected_.continuations[1].prompt;
  KvSequence decoding = NewSequence();
  KvSequence prefilling = NewSequence();
  KvSequence late = NewSequence();
  LogitsError error;
  for (size_t i = 0; i < prompt().size(); ++i) {
    std::vector<SequenceChunk> chunks = {decoding.Next(prompt().subspan(i, 1))};
    if (i % 5 == 0) chunks.push_back(prefilling.Next(prompt().subspan(i, 5)));
    if (i >= 3 && i < 3 + second.size()) {
      chunks.insert(chunks.begin(), late.Next(absl::MakeConstSpan(second).subspan(i - 3, 1)));
      chunks.front().wants_logits = i - 2 == second.size();
    }
    const size_t wanted = static_cast<size_t>(std::count_if(
        chunks.begin(), chunks.end(), [](const SequenceChunk& c) { return c.wants_logits; }));
    const absl::StatusOr<Activations> logits = model_->Forward(chunks, decoding.layout());
    ASSERT_TRUE(logits.ok()) << logits.status();
    absl::Span<const float> rest(logits->data, wanted * expected_.vocab_size);
    const auto next_row = [&] {
      const absl::Span<const float> row = rest.first(expected_.vocab_size);
      rest.remove_prefix(expected_.vocab_size);
      return row;
    };
    if (chunks.front().blocks.data() == late.blocks().data() && chunks.front().wants_logits) {
      KvSequence alone = NewSequence();
      EXPECT_THAT(next_row(), ::testing::ElementsAreArray(alone.Run(second)));
    }
    error.Add(next_row(), expected_.logits_at(i));
    if (i % 5 == 0) error.Add(next_row(), expected_.logits_at(i + 4));
    EXPECT_TRUE(rest.empty());
  }
  EXPECT_EQ(late.computed(), static_cast<int64_t>(second.size()));
  ExpectClose(error);
}

TEST_P(ParityTest, GreedyContinuationsAreThoseOfTheReference) {
  for (const ParityFixture::Continuation& continuation : expected_.continuations) {
    for (const size_t chunk_tokens : {continuation.prompt.size(), size_t{6}, size_t{1}}) {
      KvSequence sequence = NewSequence();
      std::vector<float> logits;
      const absl::Span<const uint32_t> start = continuation.prompt;
      for (size_t at = 0; at < start.size(); at += chunk_tokens) {
        logits = sequence.Run(start.subspan(at, std::min(chunk_tokens, start.size() - at)));
      }
      ASSERT_EQ(continuation.tokens.size(), 64u);
      for (const uint32_t& token : continuation.tokens) {
        ASSERT_EQ(ArgMax(logits), token);
        logits = sequence.Run({&token, 1});
      }
    }
  }
}

TEST_P(ParityTest, NoTensorOfTheCheckpointCanBeExchanged) {
  // The control of every test above: each tensor in turn gets its halves swapped.
  const ModelFolder folder(GetParam());
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
    if (entry.path().extension() != ".safetensors") continue;
    const std::string name = entry.path().filename();
    const std::string original = folder.Read(name);
    const auto file = SafetensorsFile::Open(folder.file(name));
    ASSERT_TRUE(file.ok()) << file.status();
    const size_t data = original.size() - [&] {
      size_t bytes = 0;
      for (const auto& [tensor_name, tensor] : (*file)->tensors()) bytes += tensor.bytes.size();
      return bytes;
    }();
    const std::byte* first = nullptr;
    for (const auto& [tensor_name, tensor] : (*file)->tensors()) {
      if (first == nullptr || tensor.bytes.data() < first) first = tensor.bytes.data();
    }
    for (const auto& [tensor_name, tensor] : (*file)->tensors()) {
      std::string changed = original;
      const auto begin =
          changed.begin() + static_cast<int64_t>(data) + (tensor.bytes.data() - first);
      const int64_t size = static_cast<int64_t>(tensor.bytes.size());
      std::rotate(begin, begin + size / 2, begin + size);
      const ModelFolder copy(GetParam());
      copy.Write(name, changed);
      auto model = LoadModel(copy.path(), backend_.get());
      ASSERT_TRUE(model.ok()) << model.status();
      EXPECT_NE((*model)->digest(), model_->digest()) << tensor_name;
      // Every position: an expert of the last layer may not see the last one.
      KvSequence sequence(model->get(), 160, kBlockTokens);
      LogitsError error;
      for (size_t i = 0; i < prompt().size(); ++i) {
        error.Add(sequence.Run(prompt().subspan(i, 1)), expected_.logits_at(i));
      }
      EXPECT_GT(error.relative(), kBound) << tensor_name;
    }
  }
}

TEST_P(ParityTest, WrongPositionsAreNoticed) {
  // Each token one position later than it is, after a token that is not in the prompt.
  KvSequence sequence = NewSequence();
  const uint32_t other = 1;
  sequence.Run({&other, 1});
  LogitsError error;
  error.Add(sequence.Run(prompt()), expected_.logits_at(prompt().size() - 1));
  EXPECT_GT(error.relative(), kBound);
}

TEST_P(ParityTest, RotaryFrequenciesMatter) {
  if (model_->config().position != PositionKind::kRope) GTEST_SKIP() << "no rotary positions";
  const ModelFolder folder(GetParam());
  folder.EditJson("config.json", [](nlohmann::json& config) {
    ForEachRope(config, [](nlohmann::json& rope) { rope["rope_theta"] = 1e9; });
  });
  auto model = LoadModel(folder.path(), backend_.get());
  ASSERT_TRUE(model.ok()) << model.status();
  KvSequence sequence(model->get(), 160, kBlockTokens);
  LogitsError error;
  error.Add(sequence.Run(prompt()), expected_.logits_at(prompt().size() - 1));
  EXPECT_GT(error.relative(), kBound);
}

TEST_P(ParityTest, RotaryScalingMatters) {
  if (model_->config().rope.scaling.index() == 0) GTEST_SKIP() << "no scaling";
  const ModelFolder folder(GetParam());
  folder.EditJson("config.json", [](nlohmann::json& config) {
    ForEachRope(config, [](nlohmann::json& rope) {
      rope = {{"rope_type", "default"}, {"rope_theta", rope["rope_theta"]}};
    });
  });
  auto model = LoadModel(folder.path(), backend_.get());
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_NE((*model)->position_scheme(), model_->position_scheme());
  KvSequence sequence(model->get(), 160, kBlockTokens);
  LogitsError error;
  error.Add(sequence.Run(prompt()), expected_.logits_at(prompt().size() - 1));
  EXPECT_GT(error.relative(), 10 * kBound);
}

TEST_P(ParityTest, WindowsMatter) {
  const auto& layers = model_->config().layers;
  if (std::none_of(layers.begin(), layers.end(), [](auto& layer) { return layer.window > 0; })) {
    GTEST_SKIP() << "no layer has a window";
  }
  const ModelFolder folder(GetParam());
  folder.EditJson("config.json", [](nlohmann::json& config) { config["sliding_window"] = 160; });
  auto model = LoadModel(folder.path(), backend_.get());
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_NE((*model)->digest(), model_->digest());
  std::vector<uint32_t> text = expected_.continuations[0].prompt;
  const std::vector<uint32_t>& tokens = expected_.continuations[0].tokens;
  text.insert(text.end(), tokens.begin(), tokens.end());
  KvSequence with = NewSequence();
  KvSequence without(model->get(), 160, kBlockTokens);
  LogitsError error;
  error.Add(without.Run(text), with.Run(text));
  EXPECT_GT(error.relative(), 10 * kBound);
}

INSTANTIATE_TEST_SUITE_P(Fixtures, ParityTest, ::testing::ValuesIn(ParityFixtureNames()),
                         [](const auto& info) { return info.param; });

TEST(NarrowedProductsTest, BF16ActivationsCostWhatTheirRoundingCosts) {
  if (!__builtin_cpu_supports("avx512bf16")) {
    GTEST_SKIP() << "this CPU has no AVX512_BF16: kNarrowed multiplies as kExact does";
  }
  const ParityFixture expected("llama_sharded_bf16");
  const std::unique_ptr<Backend> backend = NewCpuBackend(1, BF16Products::kNarrowed);
  auto model = LoadModel(expected.folder, backend.get());
  ASSERT_TRUE(model.ok()) << model.status();
  KvSequence sequence(model->get(), 160, kBlockTokens);
  LogitsError error;
  for (size_t i = 0; i < expected.prompt.size(); ++i) {
    error.Add(sequence.Run(absl::MakeConstSpan(expected.prompt).subspan(i, 1)),
              expected.logits_at(i));
  }
  printf("bf16 activations: relative L2 error %.2e\n", error.relative());
  EXPECT_LT(error.relative(), 2e-2);
  EXPECT_GT(error.relative(), kBound);  // or it was the exact path
}

}  // namespace
}  // namespace reprise::engine
