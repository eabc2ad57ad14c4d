// An engine on CudaBackend, emulated: output with the cache equals output without it, token for
// token, and blocks did come from the cache. The store has no GPU tier here: the emulated device
// reaches its RAM. That is sound because each step is waited for: requests run one at a time, in
// steps that hold their whole prompts.
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
#include "tests/reuse/tiny_model_folder.h"

namespace reprise::engine::cuda {
namespace {

using cachestore::DType;

class ReuseOnCardTest : public testing::TestWithParam<std::tuple<const char*, DType>> {
 protected:
  static std::shared_ptr<CollectingSink> Run(Engine* engine, const std::vector<uint32_t>& prompt,
                                             CacheMode cache) {
    GenerateRequest request;
    request.prompt = prompt;
    request.stop.max_new_tokens = 4;
    request.stop.ignore_eos = true;
    request.cache = cache;
    // Then the host draws, and the device does not.
    if (cache == CacheMode::kOff) request.sampling.top_logprobs = 0;
    auto sink = std::make_shared<CollectingSink>();
    const auto id = engine->Submit(std::move(request), sink);
    EXPECT_TRUE(id.ok()) << id.status();
    EXPECT_TRUE(id.ok() && sink->Wait());
    return sink;
  }
};

TEST_P(ReuseOnCardTest, TheCacheChangesNothing) {
  const auto& [fixture, dtype] = GetParam();
  const TinyModelFolder folder(fixture);
  cachestore::StoreOptions store_options;
  store_options.ram.capacity_bytes = 16 << 20;
  auto store = cachestore::TieredStore::Open(store_options);
  ASSERT_TRUE(store.ok()) << store.status();
  cachestore::LazyDevice device;
  EngineOptions options;
  options.model_folder = folder.path();
  options.kv_dtype = dtype;
  options.step_tokens = 160;
  options.max_running = 1;
  auto engine = Engine::Open(
      options, store->get(),
      NewCudaBackend(*MemoryCopy::Create(&device), std::make_unique<HostProducts>(&device)));
  ASSERT_TRUE(engine.ok()) << engine.status();

  std::mt19937 random(11);
  std::vector<uint32_t> text;
  int64_t cached_tokens = 0;
  for (int turn = 0; turn < 3; ++turn) {
    for (int i = 0; i < 21; ++i) text.push_back(random() % 256);
    const auto cached = Run(engine->get(), text, CacheMode::kUse);
    const auto uncached = Run(engine->get(), text, CacheMode::kOff);
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

}  // namespace
}  // namespace reprise::engine::cuda
