// An engine on a card whose store has three tiers, GPU and RAM too small for all that is said:
// greedy answers with the cache against those without it, and that blocks came from every tier. The
// card computes a row with other last bits beside other rows, so where two tokens are as good as
// equally likely either may be chosen. On the card, or emulated.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "cachestore/pool/slot_pool.h"
#include "cachestore/store/tiered_store.h"
#include "engine/backend/cuda/cuda_backend.h"
#include "engine/backend/kv_format.h"
#include "engine/engine.h"
#include "engine/model/demo_model.h"
#include "tests/engine/model/model_folder.h"
#include "tests/fakes/collecting_sink.h"
#include "tests/fakes/test_seed.h"
#include "tests/gpu/kernel_bed.h"
#include "tests/gpu/kernel_products.h"

namespace reprise::engine::cuda {
namespace {

using cachestore::StoreStats;
using cachestore::Tier;
using cachestore::TieredStore;
using Text = std::vector<uint32_t>;

constexpr int32_t kBlockTokens = 16;
constexpr int kConversations = 6;
constexpr int kTurns = 3;
constexpr int32_t kAnswerTokens = 6;
constexpr float kTie = 0.05;  // difference of log probabilities

// What is said before each answer, in tokens.
int TurnTokens() { return KernelsAreEmulated() ? 21 : 230; }
// Blocks of a conversation at its end.
int64_t MostBlocks() { return kTurns * (TurnTokens() + kAnswerTokens) / kBlockTokens + 1; }

DemoModelOptions SmallModel() {
  const bool is_small = KernelsAreEmulated();
  DemoModelOptions options;
  options.hidden_size = is_small ? 128 : 1024;
  options.num_layers = is_small ? 2 : 8;
  options.num_heads = options.hidden_size / 64;
  options.num_kv_heads = options.num_heads / 2;
  options.intermediate_size = 2 * options.hidden_size;
  options.max_positions = 2048;
  options.dtype = ElementType::kBF16;
  return options;
}

struct Answer {
  Text tokens;
  std::vector<TokenLogprobs> logprobs;
};

// Equal, but for what follows a tie of `expected`.
bool AgreeUpToTies(const Answer& expected, const Text& actual) {
  if (actual.size() != expected.tokens.size()) return false;
  const auto [e, a] = std::mismatch(expected.tokens.begin(), expected.tokens.end(), actual.begin());
  if (e == expected.tokens.end()) return true;
  const auto& top = expected.logprobs[static_cast<size_t>(e - expected.tokens.begin())].top;
  return top[1].token == *a && top[0].logprob - top[1].logprob <= kTie;
}

// How far apart the probabilities are that the two tell, up to where their tokens part.
double Distance(const Answer& expected, const Answer& actual) {
  double distance = 0;
  for (size_t i = 0; i < std::min(expected.logprobs.size(), actual.logprobs.size()); ++i) {
    for (size_t k = 0; k < 2; ++k) {
      const double apart = expected.logprobs[i].top[k].logprob - actual.logprobs[i].top[k].logprob;
      distance = std::max(distance, std::abs(apart));
    }
    if (expected.tokens[i] != actual.tokens[i]) break;
  }
  return distance;
}

class ReuseTest : public testing::Test {
 protected:
  void SetUp() override {
    auto device = OpenKernelDevice();
    if (device.status().code() == absl::StatusCode::kNotFound) GTEST_SKIP() << device.status();
    ASSERT_TRUE(device.ok()) << device.status();
    device_ = *std::move(device);
    ASSERT_TRUE(WriteDemoModel(SmallModel(), model_.path()).ok());
    ASSERT_NO_FATAL_FAILURE(OpenStore());
    ASSERT_NO_FATAL_FAILURE(OpenEngine());
  }
  void TearDown() override {
    engine_.reset();
    if (store_ == nullptr) return;
    EXPECT_EQ(store_->CheckIntegrity(), absl::OkStatus());
    store_.reset();
  }

  // Room for a quarter of all blocks on the GPU, for half in RAM, and for all on disk.
  void OpenStore() {
    const auto config = ReadModelConfig(model_.path());
    ASSERT_TRUE(config.ok()) << config.status();
    const auto slot_bytes = static_cast<int64_t>(cachestore::SlotPool::SlotBytes(
        WithDType(KvLayoutOf(*config, kBlockTokens), kDType).BytesPerBlock()));
    const int64_t all = kConversations * MostBlocks();
    cachestore::StoreOptions options;
    // Whose blocks are on disk alone when they are asked for goes by the order of the asking.
    options.eviction = cachestore::EvictionOrder::kLru;
    options.gpu.capacity_bytes = all / 4 * slot_bytes;
    options.ram.capacity_bytes = all / 2 * slot_bytes;
    options.disk.directory = disk_.path();
    options.disk.capacity_bytes = (int64_t{64} << 20) + 2 * all * slot_bytes;
    auto store = TieredStore::Open(options, device_.get());
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
  }

  void OpenEngine() {
    auto memory = MemoryCopy::Create(device_.get());
    ASSERT_TRUE(memory.ok()) << memory.status();
    auto products = OpenKernelProducts(memory->get());
    ASSERT_TRUE(products.ok()) << products.status();
    auto recorder = OpenKernelGraphs(device_.get());
    ASSERT_TRUE(recorder.ok()) << recorder.status();
    EngineOptions options;
    options.model_folder = model_.path();
    options.block_tokens = kBlockTokens;
    options.kv_dtype = kDType;
    options.step_tokens = KernelsAreEmulated() ? 24 : 128;
    options.max_running = 1;
    // What of a small model would be computed sooner than loaded is to be loaded.
    options.prefix_loading = PrefixLoading::kAlways;
    auto engine = Engine::Open(
        options, store_.get(),
        NewCudaBackend(*std::move(memory), *std::move(products), *std::move(recorder)));
    ASSERT_TRUE(engine.ok()) << engine.status();
    engine_ = *std::move(engine);
  }

  // Where probabilities are wanted tokens are drawn on the host.
  enum class Tell { kTokens, kProbabilities };
  Answer Ask(const Text& prompt, CacheMode cache, Tell tell) {
    GenerateRequest request;
    request.prompt = prompt;
    request.stop.max_new_tokens = kAnswerTokens;
    request.stop.ignore_eos = true;
    request.cache = cache;
    if (tell == Tell::kProbabilities) request.sampling.top_logprobs = 2;
    const auto sink = std::make_shared<CollectingSink>();
    const auto id = engine_->Submit(std::move(request), sink);
    EXPECT_TRUE(id.ok()) << id.status();
    EXPECT_TRUE(sink->Wait());
    EXPECT_TRUE(sink->result().has_value()) << sink->status();
    return {sink->tokens(), sink->logprobs()};
  }

  // A prompt, and the answer to it without the cache.
  struct Turn {
    Text prompt;
    Answer answer;
  };
  // Conversations that go on by turns, forth and back, so that some go on at once and others after
  // all others have been in their place.
  std::vector<Turn> ConverseWithoutCache() {
    std::mt19937 random(TestSeed());
    std::vector<Text> texts(kConversations);
    std::vector<Turn> turns;
    for (int turn = 0; turn < kTurns; ++turn) {
      for (Text& text : texts) {
        for (int i = 0; i < TurnTokens(); ++i) text.push_back(random() % 256);
        turns.push_back({text, Ask(text, CacheMode::kOff, Tell::kProbabilities)});
        const Text& answer = turns.back().answer.tokens;
        text.insert(text.end(), answer.begin(), answer.end());
      }
      std::reverse(texts.begin(), texts.end());
    }
    return turns;
  }

  // Overwrites the cached blocks of `prompt` on the GPU by those of `other`.
  void Spoil(const Text& prompt, const Text& other) {
    const auto ns = engine_->NamespaceOf("default", "");
    ASSERT_TRUE(ns.ok()) << ns.status();
    const auto pin = [&](const Text& text) {
      auto ticket =
          store_->Pin(*ns, text, {.first = 0, .count = MostBlocks()}, nullptr,
                      absl::InfiniteFuture(), cachestore::LoadOrder::kByBlock, Tier::kGpu);
      EXPECT_TRUE(ticket.Wait(absl::Now() + absl::Minutes(1)));
      return ticket.Take();
    };
    const auto right = pin(prompt);
    const auto wrong = pin(other);
    ASSERT_GT(right.blocks.size(), 0u);
    ASSERT_EQ(right.blocks.size(), wrong.blocks.size());
    for (size_t i = 0; i < right.blocks.size(); ++i) {
      const absl::Span<const std::byte> to = right.blocks[i].bytes();
      const absl::Status copied = device_->Copy(
          cachestore::Lane::kCompute,
          {{const_cast<std::byte*>(to.data()), wrong.blocks[i].bytes().data(), to.size()}});
      ASSERT_TRUE(copied.ok()) << copied;
    }
  }

  static constexpr cachestore::DType kDType = cachestore::DType::kBF16;

  const ModelFolder model_;
  const ModelFolder disk_;  // an empty folder
  std::unique_ptr<cachestore::Device> device_;
  std::unique_ptr<TieredStore> store_;
  std::unique_ptr<Engine> engine_;
};

TEST_F(ReuseTest, TheCacheChangesNoAnswerAndBlocksComeFromEveryTier) {
  const std::vector<Turn> turns = ConverseWithoutCache();
  EXPECT_EQ(store_->stats().sealed_blocks, 0);
  EXPECT_EQ(store_->stats().looked_up_tokens, 0);
  size_t num_equal = 0;
  for (size_t i = 0; i < turns.size(); ++i) {
    const Text answer = Ask(turns[i].prompt, CacheMode::kUse, Tell::kTokens).tokens;
    EXPECT_EQ(answer.size(), static_cast<size_t>(kAnswerTokens));
    EXPECT_TRUE(AgreeUpToTies(turns[i].answer, answer)) << "turn " << i;
    num_equal += answer == turns[i].answer.tokens ? 1 : 0;
  }
  EXPECT_GE(num_equal, turns.size() * 3 / 4) << "ties are rare";

  const StoreStats stats = store_->stats();
  EXPECT_GT(stats.hit_gpu_tokens, 0);
  EXPECT_GT(stats.hit_ram_tokens, 0);
  EXPECT_GT(stats.hit_disk_tokens, 0);
  EXPECT_GT(stats.demoted_from_gpu_blocks, 0);
  EXPECT_GT(stats.demoted_blocks, 0);
  EXPECT_GT(stats.promoted_blocks, 0);
  EXPECT_GT(stats.promoted_to_gpu_blocks, 0);
  EXPECT_EQ(stats.dropped_blocks, 0);
  EXPECT_EQ(stats.lost_gpu_blocks, 0);
  // All but the last turn of a conversation is read again by the next one.
  const int64_t read_again = kConversations * TurnTokens() * (kTurns - 1) * kTurns / 2;
  EXPECT_GE(engine_->stats().cached_tokens, read_again / 2);
}

// The comparison sees blocks that are another prompt's: one time in some hundred they happen to
// change little, three times running never.
TEST_F(ReuseTest, WrongBlocksChangeTheAnswer) {
  std::mt19937 random(TestSeed());
  double spoiled = 0;
  for (int prompts = 0; prompts < 3; ++prompts) {
    Text prompt;
    Text other;
    for (int i = 0; i < TurnTokens() + kBlockTokens; ++i) {
      prompt.push_back(random() % 256);
      other.push_back(random() % 256);
    }
    const Answer expected = Ask(prompt, CacheMode::kOff, Tell::kProbabilities);
    Ask(other, CacheMode::kUse, Tell::kTokens);
    EXPECT_TRUE(AgreeUpToTies(expected, Ask(prompt, CacheMode::kUse, Tell::kTokens).tokens));
    const auto distance_of_cached = [&] {
      const int64_t before = engine_->stats().cached_tokens;
      const Answer actual = Ask(prompt, CacheMode::kUse, Tell::kProbabilities);
      EXPECT_GT(engine_->stats().cached_tokens, before);
      return Distance(expected, actual);
    };
    EXPECT_LT(distance_of_cached(), kTie);
    ASSERT_NO_FATAL_FAILURE(Spoil(prompt, other));
    spoiled = std::max(spoiled, distance_of_cached());
  }
  EXPECT_GT(spoiled, kTie);
}

}  // namespace
}  // namespace reprise::engine::cuda
