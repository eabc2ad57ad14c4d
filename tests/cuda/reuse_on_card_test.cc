// An engine on CudaBackend, emulated: output with the cache equals output without it, token for
// token, and blocks did come from the cache. The store has no GPU tier here: the emulated device
// reaches its RAM. That is sound because each step is waited for: it holds whole prompts, so each
// of its sequences draws a token.
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "cachestore/store/tiered_store.h"
#include "engine/engine.h"
#include "gtest/gtest.h"
#include "tests/cuda/emulated_card.h"
#include "tests/fakes/collecting_sink.h"
#include "tests/fakes/lazy_graphs.h"
#include "tests/reuse/tiny_model_folder.h"

namespace reprise::engine::cuda {
namespace {

using cachestore::DType;

struct EngineOnCard {
  EngineOnCard(const std::string& fixture, DType dtype, int max_running) : folder(fixture) {
    cachestore::StoreOptions store_options;
    store_options.ram.capacity_bytes = 16 << 20;
    store = *cachestore::TieredStore::Open(store_options);
    EngineOptions options;
    options.model_folder = folder.path();
    options.kv_dtype = dtype;
    options.step_tokens = 160;
    options.max_running = max_running;
    auto opened =
        Engine::Open(options, store.get(),
                     NewCudaBackend(*MemoryCopy::Create(&device), std::make_unique<HostProducts>(),
                                    std::make_unique<LazyGraphs>(&device)));
    EXPECT_TRUE(opened.ok()) << opened.status();
    if (opened.ok()) engine = *std::move(opened);
  }

  enum class Drawn { kOnDevice, kOnHost };

  std::shared_ptr<CollectingSink> Submit(const std::vector<uint32_t>& prompt, CacheMode cache,
                                         Drawn drawn) const {
    GenerateRequest request;
    request.prompt = prompt;
    request.stop.max_new_tokens = 4;
    request.stop.ignore_eos = true;
    request.cache = cache;
    if (drawn == Drawn::kOnHost) request.sampling.top_logprobs = 0;
    auto sink = std::make_shared<CollectingSink>();
    const auto id = engine->Submit(std::move(request), sink);
    EXPECT_TRUE(id.ok()) << id.status();
    return sink;
  }
  std::shared_ptr<CollectingSink> Run(const std::vector<uint32_t>& prompt, CacheMode cache,
                                      Drawn drawn) const {
    auto sink = Submit(prompt, cache, drawn);
    EXPECT_TRUE(sink->Wait());
    return sink;
  }

  const TinyModelFolder folder;
  std::unique_ptr<cachestore::TieredStore> store;
  cachestore::LazyDevice device;
  std::unique_ptr<Engine> engine;
};
using Drawn = EngineOnCard::Drawn;

class ReuseOnCardTest : public testing::TestWithParam<std::tuple<const char*, DType>> {};

TEST_P(ReuseOnCardTest, TheCacheChangesNothing) {
  const auto& [fixture, dtype] = GetParam();
  const EngineOnCard card(fixture, dtype, 1);
  ASSERT_NE(card.engine, nullptr);
  std::mt19937 random(11);
  std::vector<uint32_t> text;
  int64_t cached_tokens = 0;
  for (int turn = 0; turn < 3; ++turn) {
    for (int i = 0; i < 21; ++i) text.push_back(random() % 256);
    const auto cached = card.Run(text, CacheMode::kUse, Drawn::kOnDevice);
    const auto uncached = card.Run(text, CacheMode::kOff, Drawn::kOnHost);
    ASSERT_TRUE(cached->result().has_value() && uncached->result().has_value());
    const std::vector<uint32_t> answer = cached->tokens();
    EXPECT_EQ(answer.size(), 4u);
    EXPECT_EQ(answer, uncached->tokens()) << "turn " << turn;
    cached_tokens += cached->result()->cached_ram_tokens;
    EXPECT_EQ(uncached->result()->cached_ram_tokens, 0);
    text.insert(text.end(), answer.begin(), answer.end());
  }
  EXPECT_GE(cached_tokens, 16 + 48);
}

INSTANTIATE_TEST_SUITE_P(Models, ReuseOnCardTest,
                         testing::Values(std::tuple("llama_gqa_tied", DType::kF32),
                                         std::tuple("gemma3_mqa_tied", DType::kBF16),
                                         std::tuple("mixtral_gqa", DType::kF8E4M3)),
                         [](const auto& info) { return std::string(std::get<0>(info.param)); });

// Rows of one step may be drawn in two places, and each gets its own token.
TEST(DrawOnCardTest, SomeRowsOnTheDeviceAndSomeOnTheHost) {
  const EngineOnCard card("llama_gqa_tied", DType::kF32, 3);
  ASSERT_NE(card.engine, nullptr);
  const std::vector<std::vector<uint32_t>> prompts = {{5, 9, 81}, {7, 7, 30, 2}, {200, 1}};
  const Drawn drawn[] = {Drawn::kOnHost, Drawn::kOnDevice, Drawn::kOnDevice};
  std::vector<std::vector<uint32_t>> alone;
  for (const auto& prompt : prompts) {
    alone.push_back(card.Run(prompt, CacheMode::kOff, Drawn::kOnHost)->tokens());
  }
  EXPECT_NE(alone[0], alone[1]);
  EXPECT_NE(alone[1], alone[2]);
  std::vector<std::shared_ptr<CollectingSink>> sinks;
  for (size_t i = 0; i < prompts.size(); ++i) {
    sinks.push_back(card.Submit(prompts[i], CacheMode::kOff, drawn[i]));
  }
  for (size_t i = 0; i < prompts.size(); ++i) {
    ASSERT_TRUE(sinks[i]->Wait());
    EXPECT_EQ(sinks[i]->tokens(), alone[i]) << i;
  }
}

}  // namespace
}  // namespace reprise::engine::cuda
