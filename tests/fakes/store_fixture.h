// StoreFixture: a small TieredStore with helpers that write, seal and verify blocks whose bytes
// follow from their tokens. Every test that uses it ends with CheckIntegrity(), with every lookup
// counted once, and with nothing pinned.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "cachestore/store/tiered_store.h"
#include "tests/fakes/faulty_tier.h"
#include "tests/fakes/memory_backing_tier.h"

namespace reprise::cachestore {

inline constexpr int32_t kBlockTokens = 4;
inline constexpr int64_t kSlotBytes = 4096;

// Blocks of 4 tokens and 2048 bytes per unit of `heads`; one slot holds up to two units.
inline NamespaceIdentity TestIdentity(const std::string& tenant = "default", int32_t heads = 1) {
  NamespaceIdentity id;
  id.model_digest = "model";
  id.tokenizer_digest = "tokenizer";
  id.adapter_digest = "none";
  id.layout = {.num_layers = 2,
               .num_kv_heads = heads,
               .head_dim = 32,
               .block_tokens = kBlockTokens,
               .dtype = DType::kF32};
  id.kv_scales = "none";
  id.position_scheme = "learned";
  id.tenant = tenant;
  return id;
}

// The i-th of the tokens of prompt `prompt`; prompts share nothing.
inline std::vector<TokenId> PromptTokens(uint32_t prompt, int64_t num_blocks) {
  std::vector<TokenId> tokens;
  for (int64_t i = 0; i < num_blocks * kBlockTokens; ++i) {
    tokens.push_back(prompt * 100000 + static_cast<TokenId>(i));
  }
  return tokens;
}

// The bytes a block must have: they depend on its key, hence on its whole prefix.
inline void FillPayload(const BlockKey& key, absl::Span<std::byte> bytes) {
  for (size_t i = 0; i + 8 <= bytes.size(); i += 8) {
    const uint64_t word = key.lo ^ (key.hi + i);
    std::memcpy(bytes.data() + i, &word, 8);
  }
}
inline bool PayloadIsRight(const BlockKey& key, absl::Span<const std::byte> bytes) {
  std::vector<std::byte> expected(bytes.size());
  FillPayload(key, absl::MakeSpan(expected));
  return std::memcmp(expected.data(), bytes.data(), bytes.size()) == 0;
}

class StoreFixture : public ::testing::Test {
 protected:
  void TearDown() override {
    if (store_ == nullptr) return;
    EXPECT_EQ(store_->CheckIntegrity(), absl::OkStatus());
    ExpectLookupsAreConserved();
    // A thread that ends a load or a copy may hold its pins a moment longer than whoever waits.
    const absl::Time deadline = absl::Now() + absl::Seconds(60);
    while (store_->stats().pinned_blocks > 0 && absl::Now() < deadline) std::this_thread::yield();
    EXPECT_EQ(store_->stats().pinned_blocks, 0);
    EXPECT_EQ(store_->stats().writing_blocks, 0);
  }

  StoreOptions Options(int64_t ram_slots) const {
    StoreOptions options;
    options.ram.capacity_bytes = ram_slots * kSlotBytes;
    options.eviction = eviction_;
    return options;
  }

  void OpenRamOnly(int64_t ram_slots) {
    auto store = TieredStore::Open(Options(ram_slots), nullptr, derive_);
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
    ns_ = OpenNamespace(TestIdentity());
  }

  // RAM over a fake disk that outlives the store; faults come from `faults_`.
  void OpenWithDisk(int64_t ram_slots, int64_t disk_slots) {
    store_.reset();
    StoreOptions options = Options(ram_slots);
    options.max_loading_tickets = max_loading_tickets_;
    options.disk.admission = admission_;
    options.ram_free_low_watermark = ram_free_low_watermark_;
    options.save_model_every = save_model_every_;
    auto store = TieredStore::Open(
        options,
        std::make_unique<FaultyTier>(
            std::make_unique<MemoryBackingTier>(disk_slots * kSlotBytes, contents_), faults_),
        derive_);
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
    ns_ = OpenNamespace(TestIdentity());
  }

  NamespaceHandle OpenNamespace(const NamespaceIdentity& identity) {
    auto ns = store_->OpenNamespace(identity);
    EXPECT_TRUE(ns.ok()) << ns.status();
    return ns.ok() ? *ns : NamespaceHandle{};
  }

  // Allocates, fills and seals one block; an empty ref when there is no room before `patience`.
  BlockRef SealOne(const NamespaceHandle& ns, const BlockKey& parent, const BlockContent& content,
                   absl::Duration patience = absl::Seconds(20)) {
    const absl::Time deadline = absl::Now() + patience;
    for (;;) {
      absl::StatusOr<WritableBlock> block = store_->Allocate(ns);
      if (block.ok()) {
        FillPayload(ChildKey(parent, content.words()), block->bytes());
        return store_->Seal(ns, *std::move(block), parent, content);
      }
      EXPECT_EQ(block.status().code(), absl::StatusCode::kResourceExhausted);
      if (absl::Now() >= deadline) return {};
      store_->AwaitRoom(ns, deadline);
    }
  }

  // Seals every full block of `tokens`, root first; the pins keep them in RAM.
  std::vector<BlockRef> SealChain(const NamespaceHandle& ns, absl::Span<const TokenId> tokens) {
    std::vector<BlockRef> refs;
    BlockKey parent = ns.root;
    for (size_t i = 0; i + kBlockTokens <= tokens.size(); i += kBlockTokens) {
      refs.push_back(SealOne(ns, parent, tokens.subspan(i, kBlockTokens)));
      EXPECT_TRUE(refs.back());
      parent = refs.back().key();
    }
    return refs;
  }

  PinnedPrefix PinNow(const NamespaceHandle& ns, const BlockContent& prompt) {
    PinTicket ticket = store_->Pin(ns, prompt, 1 << 20, nullptr);
    EXPECT_TRUE(ticket.Wait(absl::Now() + absl::Seconds(60)));
    PinnedPrefix prefix = ticket.Take();
    const std::vector<BlockKey> keys = ChainKeys(ns.root, prompt.words(), ns.block_words);
    for (size_t i = 0; i < prefix.blocks.size(); ++i) {
      EXPECT_EQ(prefix.blocks[i].key(), keys[i]);
      EXPECT_TRUE(PayloadIsRight(keys[i], prefix.blocks[i].bytes())) << "block " << i;
    }
    EXPECT_EQ(prefix.ram_blocks + prefix.disk_blocks, static_cast<int64_t>(prefix.blocks.size()));
    return prefix;
  }

  void ExpectLookupsAreConserved() {
    const StoreStats stats = store_->stats();
    EXPECT_EQ(stats.looked_up_tokens, stats.hit_gpu_tokens + stats.hit_ram_tokens +
                                          stats.hit_disk_tokens + stats.missed_tokens());
  }

  std::shared_ptr<MemoryTierContents> contents_ = std::make_shared<MemoryTierContents>();
  std::shared_ptr<FaultPlan> faults_ = std::make_shared<FaultPlan>();
  int max_loading_tickets_ = 1024;
  DiskAdmission admission_ = DiskAdmission::kAll;
  double ram_free_low_watermark_ = StoreOptions().ram_free_low_watermark;
  absl::Duration save_model_every_ = StoreOptions().save_model_every;
  // So that a test knows what goes first, however long it takes.
  EvictionOrder eviction_ = EvictionOrder::kLru;
  KeyDeriver derive_ = ChildKey;
  std::unique_ptr<TieredStore> store_;
  NamespaceHandle ns_;
};

}  // namespace reprise::cachestore
