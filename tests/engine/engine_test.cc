#include "engine/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <memory>
#include <string>

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

}  // namespace
}  // namespace reprise::engine
