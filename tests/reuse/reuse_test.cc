// The promise of the product on real models: for random prompts, block sizes, split points,
// evictions and restarts in between, output with the cache equals output without it, token for
// token. A run in which no block came from RAM, or none from disk, fails: it would have shown
// nothing.
#include <algorithm>
#include <cstdint>
#include <iostream>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cachestore/store/tiered_store.h"
#include "engine/backend/kv_format.h"
#include "engine/engine.h"
#include "gtest/gtest.h"
#include "tests/engine/model/parity_fixture.h"
#include "tests/fakes/collecting_sink.h"
#include "tests/fakes/test_seed.h"
#include "tests/reuse/tiny_model_folder.h"

namespace reprise::engine {
namespace {

using cachestore::StoreStats;
using cachestore::TieredStore;
using Text = std::vector<uint32_t>;

// All fixtures have this context.
constexpr size_t kContext = 160;
constexpr size_t kMaxAnswer = 12;

struct Case {
  std::string fixture;
  int32_t block_tokens;
  cachestore::DType kv_dtype = cachestore::DType::kF32;
};

// A request as it was run with the cache, and the same one without.
struct Pair {
  GenerateRequest request;
  std::shared_ptr<CollectingSink> cached = std::make_shared<CollectingSink>();
  std::shared_ptr<CollectingSink> uncached = std::make_shared<CollectingSink>();
};

class ReuseTest : public testing::TestWithParam<Case> {
 protected:
  ReuseTest() : model_(GetParam().fixture), random_(TestSeed()) {}

  std::unique_ptr<TieredStore> OpenStore() {
    cachestore::StoreOptions options;
    // Room for one to three sequences: what was cached before has to leave all the time.
    const int64_t tokens = kContext * (2 + random_() % 3);
    options.ram.capacity_bytes = BlockBytes() * (tokens / GetParam().block_tokens);
    options.disk.directory = model_.path() + "/cache";
    options.disk.capacity_bytes = int64_t{64} << 20;
    auto store = TieredStore::Open(options);
    EXPECT_TRUE(store.ok()) << store.status();
    return store.ok() ? *std::move(store) : nullptr;
  }

  std::unique_ptr<Engine> OpenEngine(TieredStore* store) {
    EngineOptions options;
    // These models compute so fast that little would come from disk.
    options.prefix_loading = PrefixLoading::kAlways;
    options.model_folder = model_.path();
    options.block_tokens = GetParam().block_tokens;
    options.kv_dtype = GetParam().kv_dtype;
    options.step_tokens = 8 + random_() % 60;  // other split points in every life
    options.max_running = 6;
    options.num_threads = 1;
    auto engine = Engine::Open(options, store);
    EXPECT_TRUE(engine.ok()) << engine.status();
    return engine.ok() ? *std::move(engine) : nullptr;
  }

  // Bytes of a slot: whole 4 KiB units.
  int64_t BlockBytes() const {
    const auto config = ReadModelConfig(model_.path());
    EXPECT_TRUE(config.ok()) << config.status();
    const auto bytes = static_cast<int64_t>(
        WithDType(KvLayoutOf(*config, GetParam().block_tokens), GetParam().kv_dtype)
            .BytesPerBlock());
    return (bytes + 4095) / 4096 * 4096;
  }

  // A new text, or one that goes on from any place of an earlier one: of a recent one as often as
  // of any.
  Text RandomPrompt() {
    Text prompt;
    if (!texts_.empty() && random_() % 5 != 0) {
      const size_t among = random_() % 2 == 0 ? texts_.size() : std::min<size_t>(texts_.size(), 4);
      const Text& base = texts_[texts_.size() - 1 - random_() % among];
      prompt.assign(base.begin(), base.begin() + random_() % (base.size() + 1));
    }
    const size_t more = 1 + random_() % 50;
    for (size_t i = 0; i < more; ++i) prompt.push_back(random_() % 256);
    prompt.resize(std::min(prompt.size(), kContext - kMaxAnswer));
    return prompt;
  }

  GenerateRequest RandomRequest() {
    GenerateRequest request;
    request.prompt = RandomPrompt();
    request.stop.max_new_tokens = 4 + random_() % (kMaxAnswer - 3);
    request.stop.ignore_eos = true;
    request.salt = random_() % 6 == 0 ? "other" : "";
    if (random_() % 4 == 0) {
      request.sampling = {.temperature = 1, .top_k = 50, .top_p = 0.95f, .seed = random_()};
    }
    return request;
  }

  // A greedy request whose prompt is `begin` and a few random tokens.
  GenerateRequest TurnAfter(Text begin, size_t more) {
    GenerateRequest request;
    request.prompt = std::move(begin);
    for (size_t i = 0; i < more; ++i) request.prompt.push_back(random_() % 256);
    request.stop.max_new_tokens = kMaxAnswer;
    request.stop.ignore_eos = true;
    return request;
  }

  static void Submit(Engine* engine, GenerateRequest request, CacheMode cache,
                     const std::shared_ptr<CollectingSink>& sink) {
    request.cache = cache;
    const auto id = engine->Submit(std::move(request), sink);
    ASSERT_TRUE(id.ok()) << id.status();
  }

  // Runs the requests at once, each with and without the cache, and compares.
  void RunAndCompare(Engine* engine, std::vector<GenerateRequest> requests) {
    std::vector<Pair> pairs(requests.size());
    for (size_t i = 0; i < pairs.size(); ++i) pairs[i].request = std::move(requests[i]);
    for (Pair& pair : pairs) Submit(engine, pair.request, CacheMode::kUse, pair.cached);
    for (Pair& pair : pairs) Submit(engine, pair.request, CacheMode::kOff, pair.uncached);
    for (const Pair& pair : pairs) {
      Compare(pair);
      if (HasFatalFailure()) return;
    }
  }

  void Compare(const Pair& pair) {
    ASSERT_TRUE(pair.cached->Wait() && pair.uncached->Wait());
    ASSERT_TRUE(pair.cached->status().ok()) << pair.cached->status();
    ASSERT_TRUE(pair.uncached->status().ok()) << pair.uncached->status();
    last_ = *pair.cached->result();
    const Text answer = pair.cached->tokens();
    ASSERT_EQ(answer, pair.uncached->tokens())
        << "prompt of " << pair.request.prompt.size() << " tokens, from RAM "
        << last_.cached_ram_tokens << ", from disk " << last_.cached_disk_tokens;
    EXPECT_EQ(static_cast<int64_t>(answer.size()), pair.request.stop.max_new_tokens);
    EXPECT_EQ(pair.uncached->result()->cached_ram_tokens, 0);
    EXPECT_EQ(pair.uncached->result()->cached_disk_tokens, 0);
    Text text = pair.request.prompt;
    text.insert(text.end(), answer.begin(), answer.end());
    texts_.push_back(std::move(text));
    answers_.push_back(answer);
  }

  // The conversation of the life before goes on, from disk; a new one begins, and goes on from RAM.
  void RunTurns(Engine* engine, TieredStore* store, int life) {
    if (life > 0) {
      const StoreStats before = store->stats();
      EXPECT_GT(before.recovered_blocks, 0);
      RunAndCompare(engine, {TurnAfter(conversation_, 5)});
      EXPECT_GT(last_.cached_disk_tokens, 64) << "nothing came from disk after a restart";
      EXPECT_GT(store->stats().hit_disk_tokens, before.hit_disk_tokens);
    }
    RunAndCompare(engine, {TurnAfter({}, 80)});
    const StoreStats before = store->stats();
    RunAndCompare(engine, {TurnAfter(texts_.back(), 10)});
    EXPECT_GT(last_.cached_ram_tokens + last_.cached_disk_tokens, 60);
    EXPECT_GT(last_.cached_ram_tokens, 0) << "nothing came from RAM in the second turn";
    EXPECT_GT(store->stats().hit_ram_tokens, before.hit_ram_tokens);
    conversation_ = texts_.back();
  }

  const TinyModelFolder model_;
  std::mt19937 random_;
  std::vector<Text> texts_;
  std::vector<Text> answers_;
  Text conversation_;    // of RunTurns
  GenerateResult last_;  // of the last cached request
};

TEST_P(ReuseTest, OutputWithTheCacheEqualsOutputWithout) {
  StoreStats sum;
  for (int life = 0; life < 3; ++life) {
    auto store = OpenStore();
    ASSERT_NE(store, nullptr);
    auto engine = OpenEngine(store.get());
    ASSERT_NE(engine, nullptr);
    RunTurns(engine.get(), store.get(), life);
    for (int batch = 0; batch < 10 && !HasFatalFailure(); ++batch) {
      std::vector<GenerateRequest> requests(1 + random_() % 4);
      for (GenerateRequest& request : requests) request = RandomRequest();
      RunAndCompare(engine.get(), std::move(requests));
      if (random_() % 3 == 0) {
        ASSERT_TRUE(store->Demote().ok());
      }
    }
    if (HasFatalFailure()) return;
    engine = nullptr;
    const StoreStats stats = store->stats();
    EXPECT_EQ(stats.pinned_blocks, 0);
    EXPECT_EQ(stats.writing_blocks, 0);
    EXPECT_TRUE(store->CheckIntegrity().ok()) << store->CheckIntegrity();
    sum.hit_ram_tokens += stats.hit_ram_tokens;
    sum.hit_disk_tokens += stats.hit_disk_tokens;
    sum.demoted_blocks += stats.demoted_blocks;
    ASSERT_TRUE(store->Demote().ok());
  }
  EXPECT_GT(sum.hit_ram_tokens, 0) << "no block was reused from RAM";
  EXPECT_GT(sum.hit_disk_tokens, 0) << "no block was reused from disk";
  EXPECT_GT(sum.demoted_blocks, 0) << "no block was ever evicted from RAM";
  std::cout << texts_.size() << " requests; tokens from RAM " << sum.hit_ram_tokens
            << ", from disk " << sum.hit_disk_tokens << ", blocks demoted " << sum.demoted_blocks
            << std::endl;
  // Answers that are all alike would compare equal whatever the cache did.
  std::sort(answers_.begin(), answers_.end());
  answers_.erase(std::unique(answers_.begin(), answers_.end()), answers_.end());
  EXPECT_GT(answers_.size(), texts_.size() / 3);
}

// Every fixture, with blocks of 8, 16 and 32 tokens in turn; then one for each format that rounds.
std::vector<Case> Cases() {
  std::vector<Case> cases;
  for (const std::string& fixture : ParityFixtureNames()) {
    cases.push_back({fixture, 8 << (cases.size() % 3)});
  }
  cases.push_back({"gpt2_mha_tied", 16, cachestore::DType::kF16});
  cases.push_back({"llama_gqa_tied", 16, cachestore::DType::kBF16});
  cases.push_back({"mistral_gqa", 16, cachestore::DType::kF8E4M3});
  cases.push_back({"qwen2_gqa_tied", 32, cachestore::DType::kInt8});
  cases.push_back({"llama_mha_untied", 32, cachestore::DType::kInt4});
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Models, ReuseTest, testing::ValuesIn(Cases()),
                         [](const testing::TestParamInfo<Case>& info) {
                           return absl::StrCat(info.param.fixture, "_", info.param.block_tokens,
                                               "_", cachestore::DTypeName(info.param.kv_dtype));
                         });

}  // namespace
}  // namespace reprise::engine
