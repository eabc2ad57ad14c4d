#include "engine/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <memory>
#include <string>
#include <utility>

#include "tests/fakes/collecting_sink.h"
#include "tests/reuse/tiny_model_folder.h"

namespace reprise::engine {
namespace {

using testing::HasSubstr;

class EngineOpenTest : public testing::Test {
 protected:
  EngineOpenTest() : folder_("gpt2_mha_tied") {}

  // Opens an engine over a store with `ram_bytes` of RAM, which must fail; returns why.
  absl::Status OpenError(int32_t block_tokens, int64_t ram_bytes) const {
    cachestore::StoreOptions store_options;
    store_options.ram.capacity_bytes = ram_bytes;
    const auto store = cachestore::TieredStore::Open(store_options);
    EXPECT_TRUE(store.ok()) << store.status();
    EngineOptions options;
    options.model_folder = folder_.path();
    options.block_tokens = block_tokens;
    options.num_threads = 1;
    return Engine::Open(options, store->get()).status();
  }
  void Spoil(const std::string& name) const { std::ofstream(folder_.path() + "/" + name) << "no"; }

  const TinyModelFolder folder_;  // 768 bytes of KV a token
};

TEST_F(EngineOpenTest, ABlockThatDoesNotFitIsRefusedWithTheSizeThatDoes) {
  const absl::Status status = OpenError(256, 64 << 10);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("a KV block of 256 tokens"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("196608 bytes"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("65536"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("largest block_tokens that fits is 64"));
  EXPECT_TRUE(OpenError(64, 64 << 10).ok());
  EXPECT_THAT(std::string(OpenError(16, 4 << 10).message()), HasSubstr("not even one of 8"));
}

TEST_F(EngineOpenTest, WhatIsWrongBesidesTheWeightsIsFoundBeforeTheyAreRead) {
  ASSERT_TRUE(OpenError(16, 1 << 20).ok());
  Spoil("model.safetensors");
  EXPECT_THAT(std::string(OpenError(16, 1 << 20).message()), HasSubstr("model.safetensors"));
  EXPECT_THAT(std::string(OpenError(256, 64 << 10).message()), HasSubstr("block_tokens"));
  Spoil("tokenizer.json");
  EXPECT_THAT(std::string(OpenError(16, 1 << 20).message()), HasSubstr("tokenizer.json"));
  Spoil("config.json");
  EXPECT_THAT(std::string(OpenError(16, 1 << 20).message()), HasSubstr("config.json"));
}

class EngineKvDTypeTest : public testing::Test {
 protected:
  EngineKvDTypeTest() : folder_("llama_gqa_tied") {
    cachestore::StoreOptions options;
    options.ram.capacity_bytes = 8 << 20;
    store_ = *cachestore::TieredStore::Open(options);
  }

  std::unique_ptr<Engine> Open(cachestore::DType dtype) {
    EngineOptions options;
    options.model_folder = folder_.path();
    options.kv_dtype = dtype;
    options.num_threads = 1;
    auto engine = Engine::Open(options, store_.get());
    EXPECT_TRUE(engine.ok()) << engine.status();
    return *std::move(engine);
  }

  // Runs the prompt; returns how many of its tokens came from the cache.
  static int64_t CachedTokens(Engine* engine) {
    GenerateRequest request;
    request.prompt.assign(40, 7);
    request.stop.max_new_tokens = 1;
    return CachedTokens(engine, request);
  }
  static int64_t CachedTokens(Engine* engine, const GenerateRequest& request) {
    const auto sink = std::make_shared<CollectingSink>();
    EXPECT_TRUE(engine->Submit(request, sink).ok());
    EXPECT_TRUE(sink->Wait() && sink->result().has_value()) << sink->status();
    return sink->result()->cached_ram_tokens;
  }

  const TinyModelFolder folder_;
  std::unique_ptr<cachestore::TieredStore> store_;
};

TEST_F(EngineKvDTypeTest, AnExactRequestIsRefusedWhereKvIsRounded) {
  for (const cachestore::DType dtype : cachestore::kAllDTypes) {
    const std::unique_ptr<Engine> engine = Open(dtype);
    GenerateRequest request;
    request.prompt = {1, 2, 3};
    request.stop.max_new_tokens = 1;
    request.exact_kv = true;
    const auto sink = std::make_shared<CollectingSink>();
    const absl::Status status = engine->Submit(request, sink).status();
    if (dtype == cachestore::DType::kF32) {
      EXPECT_TRUE(status.ok()) << status;
      EXPECT_TRUE(sink->Wait());
      continue;
    }
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(status.message()),
                HasSubstr(absl::StrCat("rounded to ", cachestore::DTypeName(dtype))));
    request.exact_kv = false;
    EXPECT_TRUE(engine->Submit(request, sink).ok());
    EXPECT_TRUE(sink->Wait());
  }
}

TEST_F(EngineKvDTypeTest, RequestsOfOneSaltTooManyGoWithoutTheCache) {
  const std::unique_ptr<Engine> engine = Open(cachestore::DType::kF32);
  const auto cached = [&engine](const std::string& tenant, const std::string& salt) {
    GenerateRequest request;
    request.prompt.assign(40, 7);
    request.stop.max_new_tokens = 1;
    request.tenant = tenant;
    request.salt = salt;
    return CachedTokens(engine.get(), request);
  };
  EXPECT_EQ(cached("alice", "0"), 0);
  for (int64_t i = 0; i < kMaxTenantNamespaces; ++i) {
    ASSERT_TRUE(engine->NamespaceOf("alice", absl::StrCat(i)).ok()) << i;
  }
  EXPECT_EQ(engine->NamespaceOf("alice", "new").status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(cached("alice", "new"), 0);
  EXPECT_EQ(cached("alice", "new"), 0);
  EXPECT_EQ(engine->stats().uncached_requests, 2);
  EXPECT_EQ(cached("alice", "0"), 32) << "what is open stays of use";
  EXPECT_EQ(cached("bob", ""), 0);
  EXPECT_EQ(cached("bob", ""), 32) << "others have their own";
  EXPECT_EQ(engine->stats().uncached_requests, 2);
}

TEST_F(EngineKvDTypeTest, FormatsOfOneModelShareNoBlocks) {
  // All in one store, each first with nothing cached and then from its own blocks.
  for (const cachestore::DType dtype : cachestore::kAllDTypes) {
    SCOPED_TRACE(cachestore::DTypeName(dtype));
    const std::unique_ptr<Engine> engine = Open(dtype);
    EXPECT_EQ(CachedTokens(engine.get()), 0);
    EXPECT_EQ(CachedTokens(engine.get()), 32);
    EXPECT_EQ(engine->IdentityOf("default", "").layout.dtype, dtype);
  }
  const auto identity = Open(cachestore::DType::kInt8)->IdentityOf("default", "");
  EXPECT_EQ(identity.kv_scales, "bf16 per row");
  EXPECT_EQ(Open(cachestore::DType::kInt4)->IdentityOf("default", "").kv_scales, "bf16 per 32");
}

}  // namespace
}  // namespace reprise::engine
