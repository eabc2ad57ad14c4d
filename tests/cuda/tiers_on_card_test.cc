// An engine on CudaBackend over a store whose three tiers are each too small for what is asked: all
// blocks go GPU -> RAM -> disk and come back, and the answers are those without the cache, token
// for token. Emulated, over a device that is late in any legal order. With one guard removed the
// answers must be wrong: else this shows nothing.
#include <atomic>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "cachestore/store/tiered_store.h"
#include "engine/engine.h"
#include "gtest/gtest.h"
#include "tests/cuda/emulated_card.h"
#include "tests/fakes/collecting_sink.h"
#include "tests/fakes/lazy_graphs.h"
#include "tests/fakes/memory_backing_tier.h"
#include "tests/fakes/unguarded_device.h"
#include "tests/reuse/tiny_model_folder.h"

namespace reprise::engine::cuda {
namespace {

using cachestore::Guard;
using cachestore::Lane;
using cachestore::LazyDevice;
using cachestore::StoreStats;
using cachestore::TieredStore;
using Text = std::vector<uint32_t>;

constexpr int64_t kSlotBytes = 8192;  // a block of 6 KiB: 16 tokens of 2 layers, f32
constexpr int64_t kGpuSlots = 10;     // not two conversations at their longest
constexpr int64_t kRamSlots = 10;
constexpr int64_t kDiskSlots = 256;
constexpr int kConversations = 5;
constexpr int kTurns = 3;

// Counts what the store copies in turn with the steps.
class WatchedDevice : public cachestore::UnguardedDevice {
 public:
  using UnguardedDevice::UnguardedDevice;
  absl::Status Copy(Lane lane, absl::Span<const cachestore::CopyPiece> pieces) override {
    if (lane == Lane::kCompute) ++copies_in_turn_;
    return UnguardedDevice::Copy(lane, pieces);
  }
  int64_t copies_in_turn() const { return copies_in_turn_; }

 private:
  std::atomic<int64_t> copies_in_turn_ = 0;
};

// Store and engine on one device, from which the store's calls of one kind may be dropped.
class TieredEngine {
 public:
  explicit TieredEngine(uint64_t seed, Guard dropped = Guard::kNone)
      : folder_("llama_gqa_tied"), device_(seed), watched_(&device_, dropped, Lane::kToDevice) {
    cachestore::StoreOptions store_options;
    store_options.gpu.capacity_bytes = kGpuSlots * kSlotBytes;
    store_options.ram.capacity_bytes = kRamSlots * kSlotBytes;
    store_options.gpu_free_low_watermark = 0.2;
    auto store = TieredStore::Open(
        store_options, std::make_unique<cachestore::MemoryBackingTier>(kDiskSlots * kSlotBytes),
        cachestore::ChildKey, &watched_);
    EXPECT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
    EngineOptions options;
    options.model_folder = folder_.path();
    options.step_tokens = 24;  // chunks, some of which nobody waits for
    options.max_running = 3;
    // The emulation computes, and all tiers copy, at speeds that say nothing.
    options.prefix_loading = PrefixLoading::kAlways;
    auto engine =
        Engine::Open(options, store_.get(),
                     NewCudaBackend(*MemoryCopy::Create(&device_), std::make_unique<HostProducts>(),
                                    std::make_unique<LazyGraphs>(&device_)));
    EXPECT_TRUE(engine.ok()) << engine.status();
    engine_ = *std::move(engine);
  }
  ~TieredEngine() {
    engine_.reset();
    // Where a guard was dropped, the store does not know what is still under way.
    for (const Lane lane : {Lane::kCompute, Lane::kToDevice, Lane::kToHost}) {
      device_.Wait(device_.Mark(lane)).IgnoreError();
    }
    EXPECT_EQ(store_->CheckIntegrity(), absl::OkStatus());
  }

  // Two greedy answers to the same prompt: the second one pins the blocks of the first, and copies
  // the one that is not full. Empty when the request failed.
  std::vector<Text> Ask(const Text& prompt, CacheMode cache) {
    GenerateRequest request;
    request.prompt = prompt;
    request.stop.max_new_tokens = 3;
    request.stop.ignore_eos = true;
    request.cache = cache;
    request.num_samples = 2;
    const auto sink = std::make_shared<CollectingSink>();
    const auto id = engine_->Submit(std::move(request), sink);
    EXPECT_TRUE(id.ok()) << id.status();
    EXPECT_TRUE(sink->Wait());
    if (!sink->status().ok()) return {};
    result_ = *sink->result();
    return {sink->tokens(0), sink->tokens(1)};
  }

  StoreStats stats() const { return store_->stats(); }
  const GenerateResult& result() const { return result_; }  // of the last request
  int64_t copied_prompts() const { return watched_.copies_in_turn(); }

 private:
  const TinyModelFolder folder_;
  LazyDevice device_;
  WatchedDevice watched_;
  std::unique_ptr<TieredStore> store_;
  std::unique_ptr<Engine> engine_;
  GenerateResult result_;
};

// Conversations take turns: when one goes on, all others have been in its place. Each prompt is
// what was said before and some more. The answers, turn by turn.
std::vector<std::vector<Text>> Converse(TieredEngine& engine, CacheMode cache) {
  std::mt19937 random(17);
  std::vector<Text> texts(kConversations);
  std::vector<std::vector<Text>> answers;
  for (int turn = 0; turn < kTurns; ++turn) {
    for (Text& text : texts) {
      for (int i = 0; i < 27; ++i) text.push_back(random() % 256);
      answers.push_back(engine.Ask(text, cache));
      if (answers.back().empty()) return answers;
      text.insert(text.end(), answers.back()[0].begin(), answers.back()[0].end());
    }
  }
  return answers;
}

const std::vector<std::vector<Text>>& AnswersWithoutCache() {
  static const auto* const answers = [] {
    TieredEngine engine(0);
    auto* const said = new auto(Converse(engine, CacheMode::kOff));
    EXPECT_EQ(engine.stats().sealed_blocks, 0);
    return said;
  }();
  return *answers;
}

class TiersOnCardTest : public testing::TestWithParam<uint64_t> {};

TEST_P(TiersOnCardTest, BlocksGoDownAndComeBackAndTheAnswersAreTheSame) {
  const auto& expected = AnswersWithoutCache();
  ASSERT_EQ(expected.size(), static_cast<size_t>(kConversations * kTurns));
  for (const auto& answers : expected) {
    ASSERT_EQ(answers.size(), 2u);
    EXPECT_EQ(answers[0].size(), 3u);
    EXPECT_EQ(answers[0], answers[1]);
  }
  TieredEngine engine(GetParam());
  EXPECT_EQ(Converse(engine, CacheMode::kUse), expected);
  const StoreStats stats = engine.stats();
  // Down.
  EXPECT_GT(stats.copied_from_gpu_blocks, 0);
  EXPECT_GT(stats.demoted_from_gpu_blocks, 0);
  EXPECT_GT(stats.demoted_blocks, 0);
  // And up again.
  EXPECT_GT(stats.promoted_blocks, 0);
  EXPECT_GT(stats.promoted_to_gpu_blocks, 0);
  EXPECT_GT(stats.hit_gpu_tokens, 0);
  EXPECT_GT(stats.hit_disk_tokens, 0);
  // Every block of the turns before was there when its conversation went on.
  EXPECT_EQ(stats.dropped_blocks, 0);
  EXPECT_EQ(stats.lost_gpu_blocks, 0);
  EXPECT_GE(engine.copied_prompts(), kConversations) << "the second answers began otherwise";
}

INSTANTIATE_TEST_SUITE_P(Orders, TiersOnCardTest, testing::Values(0, 1, 2),
                         [](const auto& info) { return "Seed" + std::to_string(info.param); });

TEST(HitsOnCardTest, AHitIsOfTheTierWhereItWasFound) {
  TieredEngine engine(0);
  const Text prompt(40, 7);
  engine.Ask(prompt, CacheMode::kUse);
  EXPECT_EQ(engine.result().cached_gpu_tokens, 0);
  engine.Ask(prompt, CacheMode::kUse);
  EXPECT_EQ(engine.result().cached_gpu_tokens, 32);
  EXPECT_EQ(engine.result().cached_ram_tokens + engine.result().cached_disk_tokens, 0);
}

TEST(UnguardedTiersOnCardTest, StepsThatDoNotWaitForLoadsAnswerWrongly) {
  TieredEngine engine(0, Guard::kWait);
  EXPECT_NE(Converse(engine, CacheMode::kUse), AnswersWithoutCache());
  EXPECT_GT(engine.stats().hit_gpu_tokens, 0);
}

}  // namespace
}  // namespace reprise::engine::cuda
