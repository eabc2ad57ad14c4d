// The comparison of reuse_test.cc can fail: when the KV of one cached block of a real model is
// wrong, the output with the cache differs from the output without it.
#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "cachestore/store/tiered_store.h"
#include "engine/backend/backend.h"
#include "engine/backend/kv_format.h"
#include "engine/engine_loop.h"
#include "engine/model/model.h"
#include "gtest/gtest.h"
#include "tests/fakes/collecting_sink.h"
#include "tests/fakes/piece_tokenizer.h"
#include "tests/reuse/tiny_model_folder.h"

namespace reprise::engine {
namespace {

constexpr int32_t kBlockTokens = 16;

// A model that, when told to, leaves the wrong KV behind in the first block of every prompt.
class CorruptingModel : public Model {
 public:
  enum class Mode { kHonest, kCorruptFirstBlock };

  CorruptingModel(std::unique_ptr<Model> model, cachestore::DType kv_dtype, Mode mode)
      : model_(std::move(model)), kv_dtype_(kv_dtype), mode_(mode) {}

  const ModelConfig& config() const override { return model_->config(); }
  const std::string& digest() const override { return model_->digest(); }
  cachestore::KvLayout layout(int32_t block_tokens) const override {
    return WithDType(model_->layout(block_tokens), kv_dtype_);
  }
  std::string position_scheme() const override { return model_->position_scheme(); }

  absl::StatusOr<Activations> Forward(absl::Span<const SequenceChunk> chunks,
                                      const cachestore::KvLayout& layout) override {
    const absl::StatusOr<Activations> logits = model_->Forward(chunks, layout);
    if (mode_ == Mode::kHonest) return logits;
    for (const SequenceChunk& chunk : chunks) {
      if (chunk.start != 0) continue;
      // Keys for values, and the last layer's for the first's: numbers that KV could have.
      const size_t part = layout.BytesPerPart();
      std::byte* const block = chunk.blocks[0];
      const size_t parts = layout.BytesPerBlock() / part;
      for (size_t i = 0; i < parts / 2; ++i) {
        std::swap_ranges(block + i * part, block + (i + 1) * part, block + (parts - 1 - i) * part);
      }
    }
    return logits;
  }

 private:
  const std::unique_ptr<Model> model_;
  const cachestore::DType kv_dtype_;
  const Mode mode_;
};

class CorruptedReuseTest : public testing::TestWithParam<cachestore::DType> {
 protected:
  // Of 10 prompts that are run, asked again from the cache, and asked without the cache: how many
  // answers from the cache differ from those without.
  int64_t DifferentAnswers(CorruptingModel::Mode mode) {
    const TinyModelFolder folder("llama_gqa_tied");
    const std::unique_ptr<Backend> backend = NewCpuBackend(1);
    auto loaded = LoadModel(folder.path(), backend.get());
    EXPECT_TRUE(loaded.ok()) << loaded.status();
    CorruptingModel model(*std::move(loaded), GetParam(), mode);
    cachestore::StoreOptions options;
    options.ram.capacity_bytes = 16 << 20;
    auto store = *cachestore::TieredStore::Open(options);
    cachestore::NamespaceIdentity identity;
    identity.model_digest = model.digest();
    identity.tokenizer_digest = "none";
    identity.adapter_digest = "none";
    identity.layout = model.layout(kBlockTokens);
    identity.kv_scales = std::string(cachestore::KvScalesName(identity.layout.scales));
    identity.position_scheme = model.position_scheme();
    const cachestore::NamespaceHandle ns = *store->OpenNamespace(identity);
    const PieceTokenizer tokenizer;
    EngineLoop loop(
        {&model, backend.get(), &tokenizer, store.get()}, ns.layout,
        BlockBudget(store->capacity_blocks(ns), kBlockTokens, model.config().max_positions), {},
        100);

    std::mt19937 random(1);
    int64_t different = 0;
    for (int i = 0; i < 10; ++i) {
      GenerateRequest request;
      for (int t = 0; t < 60; ++t) request.prompt.push_back(random() % 256);
      request.stop.max_new_tokens = 1;
      Run(&loop, ns, request);
      const auto cached = Run(&loop, ns, request);
      EXPECT_EQ(cached->result()->cached_ram_tokens, 48);
      // One pass over the whole prompt: its token was chosen before the block was spoilt.
      request.cache = CacheMode::kOff;
      const auto uncached = Run(&loop, ns, request);
      different += cached->tokens()[0] != uncached->tokens()[0] ? 1 : 0;
    }
    return different;
  }

  static std::shared_ptr<CollectingSink> Run(EngineLoop* loop,
                                             const cachestore::NamespaceHandle& ns,
                                             const GenerateRequest& request) {
    auto sink = std::make_shared<CollectingSink>();
    const auto id = loop->Submit(ns, request, sink);
    EXPECT_TRUE(id.ok()) << id.status();
    EXPECT_TRUE(sink->Wait());
    EXPECT_TRUE(sink->result().has_value()) << sink->status();
    return sink;
  }
};

TEST_P(CorruptedReuseTest, AWrongBlockChangesTheOutput) {
  EXPECT_GT(DifferentAnswers(CorruptingModel::Mode::kCorruptFirstBlock), 0);
}

TEST_P(CorruptedReuseTest, TheSameRunWithRightBlocksDoesNot) {
  EXPECT_EQ(DifferentAnswers(CorruptingModel::Mode::kHonest), 0);
}

INSTANTIATE_TEST_SUITE_P(Formats, CorruptedReuseTest, testing::ValuesIn(cachestore::kAllDTypes),
                         [](const testing::TestParamInfo<cachestore::DType>& info) {
                           return std::string(cachestore::DTypeName(info.param));
                         });

}  // namespace
}  // namespace reprise::engine
