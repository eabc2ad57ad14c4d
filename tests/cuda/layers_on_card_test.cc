// KV that comes to the GPU layer by layer while a model computes, emulated: the first layers are
// computed before the last ones have been copied, and the logits and answers are those with all of
// it there from the start. With the wait of a layer removed they are wrong.
#include <algorithm>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "cachestore/store/tiered_store.h"
#include "engine/engine.h"
#include "engine/model/model.h"
#include "gtest/gtest.h"
#include "tests/cuda/emulated_card.h"
#include "tests/fakes/collecting_sink.h"
#include "tests/fakes/held_device.h"
#include "tests/fakes/lazy_graphs.h"
#include "tests/fakes/memory_backing_tier.h"
#include "tests/reuse/tiny_model_folder.h"

namespace reprise::engine::cuda {
namespace {

using cachestore::BlockRef;
using cachestore::Guard;
using cachestore::HeldDevice;
using cachestore::Lane;
using cachestore::LazyDevice;
using cachestore::PinTicket;
using cachestore::Tier;
using cachestore::TieredStore;
using cachestore::UnguardedDevice;
using Text = std::vector<uint32_t>;

constexpr int32_t kBlockTokens = 16;
constexpr int64_t kSlotBytes = 8192;  // a block of 6 KiB: 16 tokens of 2 layers, f32
constexpr int64_t kPrefixBlocks = 3;

absl::Time Soon() { return absl::Now() + absl::Seconds(60); }

std::unique_ptr<TieredStore> OpenStore(int64_t gpu_slots, cachestore::Device* device) {
  cachestore::StoreOptions options;
  // Whoever is asked next is on the GPU no more, by the order of the asking alone.
  options.eviction = cachestore::EvictionOrder::kLru;
  options.gpu.capacity_bytes = gpu_slots * kSlotBytes;
  options.ram.capacity_bytes = 64 * kSlotBytes;
  auto store =
      TieredStore::Open(options, std::make_unique<cachestore::MemoryBackingTier>(256 * kSlotBytes),
                        cachestore::ChildKey, device);
  EXPECT_TRUE(store.ok()) << store.status();
  return *std::move(store);
}

Text RandomText(int64_t tokens, uint32_t seed) {
  std::mt19937 random(seed);
  Text text;
  for (int64_t i = 0; i < tokens; ++i) text.push_back(random() % 256);
  return text;
}

// What a step waits for before each layer. Before it waits for the last one, it has the device
// finish all that the step was given so far, and notes what was still to be copied then.
class WatchedArrival final : public LayerArrival {
 public:
  WatchedArrival(const PinTicket* ticket, const cachestore::KvLayout& layout, LazyDevice* device,
                 HeldDevice* held)
      : ticket_(ticket), layout_(layout), device_(device), held_(held) {}

  absl::Status AwaitLayer(int32_t layer) override {
    if (layer + 1 == layout_.num_layers) {
      device_->Wait(device_->Mark(Lane::kCompute)).IgnoreError();
      copies_left_ = device_->num_waiting(Lane::kToDevice);
      was_done_ = ticket_->done();
      held_->LetGo(Lane::kToDevice);
    }
    return ticket_->AwaitBytes(layout_.PartOffset(layer + 1, 0), Soon())
               ? absl::OkStatus()
               : absl::UnavailableError("the layer did not come");
  }
  size_t copies_left() const { return copies_left_; }
  bool was_done() const { return was_done_; }

 private:
  const PinTicket* const ticket_;
  const cachestore::KvLayout layout_;
  LazyDevice* const device_;
  HeldDevice* const held_;
  size_t copies_left_ = 0;
  bool was_done_ = true;
};

// A model, and a store whose GPU tier it computes on.
class ModelOnTiers {
 public:
  explicit ModelOnTiers(Guard dropped)
      : folder_("llama_gqa_tied"), held_(&device_), guarded_(&held_, dropped, Lane::kCompute) {
    backend_ = NewCudaBackend(*MemoryCopy::Create(&device_), std::make_unique<HostProducts>(),
                              std::make_unique<LazyGraphs>(&device_));
    model_ = *LoadModel(folder_.path(), backend_.get());
    store_ = OpenStore(kGpuSlots, &guarded_);
    cachestore::NamespaceIdentity identity;
    identity.model_digest = model_->digest();
    identity.tokenizer_digest = "tokenizer";
    identity.adapter_digest = "none";
    identity.layout = model_->layout(kBlockTokens);
    identity.kv_scales = "none";
    identity.position_scheme = model_->position_scheme();
    ns_ = *store_->OpenNamespace(identity);
  }
  ~ModelOnTiers() {
    held_.LetGo(Lane::kToDevice);
    for (const Lane lane : {Lane::kCompute, Lane::kToDevice, Lane::kToHost}) {
      device_.Wait(device_.Mark(lane)).IgnoreError();
    }
  }

  // Computes the blocks of the prefix and leaves them in RAM alone, their places on the GPU being
  // poison.
  void PutPrefixInRam(const Text& text) {
    std::vector<cachestore::WritableBlock> blocks;
    std::vector<std::byte*> table;
    for (int64_t i = 0; i < kPrefixBlocks; ++i) {
      blocks.push_back(*store_->Allocate(ns_, Tier::kGpu));
      table.push_back(blocks.back().bytes().data());
    }
    const auto prefix = absl::MakeConstSpan(text).first(kPrefixBlocks * kBlockTokens);
    ASSERT_TRUE(model_->Forward({{prefix, 0, table, false}}, ns_.layout).ok());
    cachestore::BlockKey parent = ns_.root;
    std::vector<BlockRef> refs;
    for (int64_t i = 0; i < kPrefixBlocks; ++i) {
      refs.push_back(store_->Seal(ns_, std::move(blocks[i]), parent,
                                  prefix.subspan(i * kBlockTokens, kBlockTokens)));
      parent = refs.back().key();
    }
    refs.clear();
    PinTicket ticket =
        store_->Pin(ns_, text, {.first = 0, .count = kPrefixBlocks}, nullptr,
                    absl::InfiniteFuture(), cachestore::LoadOrder::kByBlock, Tier::kRam);
    ASSERT_TRUE(ticket.Wait(Soon()));
    ASSERT_EQ(static_cast<int64_t>(ticket.Take().blocks.size()), kPrefixBlocks);
    std::vector<cachestore::WritableBlock> all;
    for (int64_t i = 0; i < kGpuSlots; ++i) {
      all.push_back(*store_->Allocate(ns_, Tier::kGpu));
      const absl::Span<std::byte> bytes = all.back().bytes();
      static_cast<LazyDevice::Queue*>(device_.Stream(Lane::kCompute))->Enqueue([bytes] {
        std::fill(bytes.begin(), bytes.end(), LazyDevice::kPoison);
      });
    }
    ASSERT_TRUE(device_.Wait(device_.Mark(Lane::kCompute)).ok());
    all.clear();
    ASSERT_EQ(store_->Match(ns_, text, kPrefixBlocks).ram_blocks, kPrefixBlocks);
  }

  // Logits of the last token of `text`, whose first blocks come from RAM in `order`. Empty: the
  // prefix did not come.
  std::vector<float> Logits(const Text& text, cachestore::LoadOrder order) {
    const bool by_layer = order == cachestore::LoadOrder::kByLayer;
    if (by_layer) held_.Hold(Lane::kToDevice);
    PinTicket ticket = store_->Pin(ns_, text, {.first = 0, .count = kPrefixBlocks}, nullptr,
                                   absl::InfiniteFuture(), order, Tier::kGpu);
    WatchedArrival arrival(&ticket, ns_.layout, &device_, &held_);
    cachestore::PinnedPrefix prefix;
    std::vector<std::byte*> table;
    if (by_layer) {
      for (const std::byte* at : ticket.addresses()) table.push_back(const_cast<std::byte*>(at));
    } else {
      EXPECT_TRUE(ticket.Wait(Soon()));
      prefix = ticket.Take();
      for (const BlockRef& ref : prefix.blocks) {
        table.push_back(const_cast<std::byte*>(ref.bytes().data()));
      }
    }
    EXPECT_EQ(static_cast<int64_t>(table.size()), kPrefixBlocks);
    const cachestore::WritableBlock last = *store_->Allocate(ns_, Tier::kGpu);
    table.push_back(last.bytes().data());
    const auto suffix = absl::MakeConstSpan(text).subspan(kPrefixBlocks * kBlockTokens);
    SequenceChunk chunk = {suffix, kPrefixBlocks * kBlockTokens, table, true};
    if (by_layer) chunk.arrival = &arrival;
    const absl::StatusOr<Activations> logits = model_->Forward({chunk}, ns_.layout);
    EXPECT_TRUE(logits.ok()) << logits.status();
    if (!logits.ok()) return {};
    const absl::Span<float> rows = *backend_->HostRows(*logits);
    copies_left_ = arrival.copies_left();
    was_done_ = arrival.was_done();
    return {rows.begin(), rows.end()};
  }
  // Of the last prefix by layer, when the layers before the last one had been computed.
  size_t copies_left() const { return copies_left_; }
  bool was_done() const { return was_done_; }

 private:
  static constexpr int64_t kGpuSlots = 8;

  const TinyModelFolder folder_;
  LazyDevice device_;
  HeldDevice held_;
  UnguardedDevice guarded_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<TieredStore> store_;
  cachestore::NamespaceHandle ns_;
  size_t copies_left_ = 0;
  bool was_done_ = true;
};

// Behind the prefix: a row as of decoding, and some as of a prompt.
class LayersOnCardTest : public testing::TestWithParam<int64_t> {
 protected:
  const Text text_ = RandomText(kPrefixBlocks * kBlockTokens + GetParam(), 23);
};

TEST_P(LayersOnCardTest, AStepComputesTheFirstLayerBeforeTheLastIsCopied) {
  std::vector<float> expected;
  {
    ModelOnTiers whole(Guard::kNone);
    ASSERT_NO_FATAL_FAILURE(whole.PutPrefixInRam(text_));
    expected = whole.Logits(text_, cachestore::LoadOrder::kByBlock);
  }
  ModelOnTiers tiers(Guard::kNone);
  ASSERT_NO_FATAL_FAILURE(tiers.PutPrefixInRam(text_));
  ASSERT_FALSE(expected.empty());
  EXPECT_EQ(tiers.Logits(text_, cachestore::LoadOrder::kByLayer), expected);
  EXPECT_GT(tiers.copies_left(), 0u);
  EXPECT_FALSE(tiers.was_done());
}

TEST_P(LayersOnCardTest, AStepThatDoesNotAwaitItsLayersComputesSomethingElse) {
  std::vector<float> expected;
  {
    ModelOnTiers whole(Guard::kNone);
    ASSERT_NO_FATAL_FAILURE(whole.PutPrefixInRam(text_));
    expected = whole.Logits(text_, cachestore::LoadOrder::kByBlock);
  }
  ModelOnTiers tiers(Guard::kAwait);
  ASSERT_NO_FATAL_FAILURE(tiers.PutPrefixInRam(text_));
  EXPECT_NE(tiers.Logits(text_, cachestore::LoadOrder::kByLayer), expected);
}

INSTANTIATE_TEST_SUITE_P(Rows, LayersOnCardTest, testing::Values(1, 5),
                         [](const auto& info) { return std::to_string(info.param) + "Rows"; });

// Copies to the device that were held are seen to have ended once a step awaits one of them,
// however late that step began.
class HeldUntilAwaited final : public HeldDevice {
 public:
  using HeldDevice::HeldDevice;

  void Await(Lane lane, cachestore::Moment moment) override {
    HeldDevice::Await(lane, moment);
    if (lane == Lane::kCompute && moment.lane == Lane::kToDevice) LetGo(Lane::kToDevice);
  }
};

// An engine whose GPU tier holds one of two conversations, so that each comes from RAM when it goes
// on; alone, and by layer once the hop's speed is known.
class EngineByLayerTest : public testing::TestWithParam<uint64_t> {};

TEST_P(EngineByLayerTest, TheAnswersAreThoseWithoutTheCache) {
  const TinyModelFolder folder("llama_gqa_tied");
  LazyDevice lazy(GetParam());
  HeldUntilAwaited device(&lazy);
  const std::unique_ptr<TieredStore> store = OpenStore(/*gpu_slots=*/6, &device);
  EngineOptions options;
  options.model_folder = folder.path();
  auto opened =
      Engine::Open(options, store.get(),
                   NewCudaBackend(*MemoryCopy::Create(&device), std::make_unique<HostProducts>(),
                                  std::make_unique<LazyGraphs>(&lazy)));
  ASSERT_TRUE(opened.ok()) << opened.status();
  const std::unique_ptr<Engine> engine = *std::move(opened);
  const auto ask = [&](const Text& prompt, CacheMode cache) {
    GenerateRequest request;
    request.prompt = prompt;
    request.stop.max_new_tokens = 3;
    request.stop.ignore_eos = true;
    request.cache = cache;
    const auto sink = std::make_shared<CollectingSink>();
    EXPECT_TRUE(engine->Submit(std::move(request), sink).ok());
    // Not all that is held comes by layer, and nobody awaits the rest.
    if (!sink->Wait(absl::Seconds(1))) device.LetGo(Lane::kToDevice);
    EXPECT_TRUE(sink->Wait());
    EXPECT_EQ(sink->status(), absl::OkStatus());
    return sink->tokens();
  };
  const Text prompts[] = {RandomText(53, 1), RandomText(49, 2)};
  const Text expected[] = {ask(prompts[0], CacheMode::kOff), ask(prompts[1], CacheMode::kOff)};
  EXPECT_NE(expected[0], expected[1]);
  // Every other round tells the speed of the hop; in those between, a prefix that comes by layer is
  // not there before a step awaits it. A machine that is busy may be late, and then the step is
  // void.
  for (int round = 0; round < 20 && engine->stats().arrived_prefixes < 2; ++round) {
    for (const int which : {0, 1}) {
      if (round % 2 == 1) device.Hold(Lane::kToDevice);
      EXPECT_EQ(ask(prompts[which], CacheMode::kUse), expected[which]);
      device.LetGo(Lane::kToDevice);
    }
  }
  EXPECT_GE(engine->stats().arrived_prefixes, 2) << engine->stats().void_steps << " were void";
  EXPECT_GT(store->stats().promoted_to_gpu_blocks, 0);
}

INSTANTIATE_TEST_SUITE_P(Orders, EngineByLayerTest, testing::Values(0, 1, 2),
                         [](const auto& info) { return "Seed" + std::to_string(info.param); });

}  // namespace
}  // namespace reprise::engine::cuda
