// KV that was computed with activations rounded to bf16 is never reused by a backend that does not
// round them, nor the other way round, although model folder and store are the same.
#include <memory>
#include <string>
#include <vector>

#include "cachestore/store/tiered_store.h"
#include "engine/backend/backend.h"
#include "engine/engine_loop.h"
#include "engine/model/model.h"
#include "gtest/gtest.h"
#include "tests/engine/backend/vector_target.h"
#include "tests/fakes/collecting_sink.h"
#include "tests/fakes/piece_tokenizer.h"
#include "tests/reuse/tiny_model_folder.h"

namespace reprise::engine {
namespace {

constexpr int32_t kBlockTokens = 16;

class ArithmeticReuseTest : public testing::Test {
 protected:
  void SetUp() override {
    cachestore::StoreOptions options;
    options.ram.capacity_bytes = 16 << 20;
    auto store = cachestore::TieredStore::Open(options);
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
  }

  // Tokens of a fixed prompt of 60 that came from the cache, on a backend of this kind.
  int64_t CachedTokens(const std::string& folder, BF16Products bf16) {
    const std::unique_ptr<Backend> backend = NewCpuBackend(1, bf16);
    const auto model = LoadModel(folder, backend.get());
    EXPECT_TRUE(model.ok()) << model.status();
    cachestore::NamespaceIdentity identity;
    identity.model_digest = (*model)->digest();
    identity.tokenizer_digest = "none";
    identity.adapter_digest = "none";
    identity.layout = (*model)->layout(kBlockTokens);
    identity.kv_scales = "none";
    identity.position_scheme = (*model)->position_scheme();
    const cachestore::NamespaceHandle ns = *store_->OpenNamespace(identity);
    const PieceTokenizer tokenizer;
    EngineLoop loop(
        {model->get(), backend.get(), &tokenizer, store_.get()}, ns.layout,
        BlockBudget(store_->capacity_blocks(ns), kBlockTokens, (*model)->config().max_positions),
        {}, 100);
    GenerateRequest request;
    for (uint32_t t = 0; t < 60; ++t) request.prompt.push_back(t);
    request.stop.max_new_tokens = 1;
    const auto sink = std::make_shared<CollectingSink>();
    EXPECT_TRUE(loop.Submit(ns, request, sink).ok());
    EXPECT_TRUE(sink->Wait());
    return sink->result()->cached_ram_tokens;
  }

  std::unique_ptr<cachestore::TieredStore> store_;
};

TEST_F(ArithmeticReuseTest, KvOfOneArithmeticIsNoHitForTheOther) {
  if (!__builtin_cpu_supports("avx512bf16")) {
    GTEST_SKIP() << "this CPU has no AVX512_BF16: both kinds of products are one";
  }
  const TinyModelFolder folder("llama_sharded_bf16");
  EXPECT_EQ(CachedTokens(folder.path(), BF16Products::kNarrowed), 0);
  EXPECT_EQ(CachedTokens(folder.path(), BF16Products::kExact), 0);
  EXPECT_EQ(CachedTokens(folder.path(), BF16Products::kNarrowed), 48);
  EXPECT_EQ(CachedTokens(folder.path(), BF16Products::kExact), 48);
}

TEST_F(ArithmeticReuseTest, WeightsThatBothMultiplyAlikeShareTheirKv) {
  const TinyModelFolder folder("llama_gqa_tied");
  EXPECT_EQ(CachedTokens(folder.path(), BF16Products::kNarrowed), 0);
  EXPECT_EQ(CachedTokens(folder.path(), BF16Products::kExact), 48);
}

TEST_F(ArithmeticReuseTest, KvOfAnotherVectorWidthIsNoHit) {
  const TinyModelFolder folder("llama_gqa_tied");
  EXPECT_EQ(CachedTokens(folder.path(), BF16Products::kExact), 0);
  {
    if ((hwy::SupportedTargets() & HWY_SSE4) == 0) GTEST_SKIP() << "no SSE4 here";
    const VectorTarget narrow(HWY_SSE4);
    EXPECT_EQ(CachedTokens(folder.path(), BF16Products::kExact), 0);
    EXPECT_EQ(CachedTokens(folder.path(), BF16Products::kExact), 48);
  }
  EXPECT_EQ(CachedTokens(folder.path(), BF16Products::kExact), 48);
}

}  // namespace
}  // namespace reprise::engine
