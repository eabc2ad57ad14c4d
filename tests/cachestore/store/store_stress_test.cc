// Many threads on one small store, so that eviction, demotion, loading, sealing and failing overlap
// all the time; every byte read is verified.
#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <thread>
#include <vector>

#include "cachestore/base/check.h"
#include "tests/fakes/store_fixture.h"
#include "tests/fakes/test_seed.h"

namespace reprise::cachestore {
namespace {

class StoreStressTest : public StoreFixture {
 protected:
  // One client: match, pin, verify, compute what is missing, hold it for a while.
  void Client(uint32_t seed, const std::vector<NamespaceHandle>& namespaces, int rounds) {
    std::mt19937 random(seed);
    std::vector<std::vector<BlockRef>> held;
    for (int round = 0; round < rounds; ++round) {
      const NamespaceHandle& ns = namespaces[random() % namespaces.size()];
      const std::vector<TokenId> prompt =
          PromptTokens(random() % 6, 1 + static_cast<int64_t>(random() % 6));
      store_->Match(ns, prompt, 100);
      const LoadOrder order = random() % 2 == 0 ? LoadOrder::kByLayer : LoadOrder::kByBlock;
      PinTicket ticket = store_->Pin(ns, prompt, BlockRange{.first = 0, .count = 100}, nullptr,
                                     absl::InfiniteFuture(), order);
      if (random() % 8 == 0) continue;  // abandoned
      const std::vector<const std::byte*> addresses = ticket.addresses();
      const size_t bytes = ns.layout.BytesPerBlock();
      if (!addresses.empty() && ticket.AwaitBytes(bytes, absl::Now() + absl::Seconds(60))) {
        const std::vector<BlockKey> keys = ChainKeys(ns.root, prompt, kBlockTokens);
        for (size_t i = 0; i < addresses.size(); ++i) {
          if (!PayloadIsRight(keys[i], {addresses[i], bytes})) ++wrong_;
        }
      }
      CHECK(ticket.Wait(absl::Now() + absl::Seconds(60)));
      std::vector<BlockRef> refs = std::move(ticket.Take().blocks);
      for (const BlockRef& ref : refs) Verify(ref);
      Extend(ns, prompt, refs);
      if (random() % 2 == 0) held.push_back(std::move(refs));
      if (held.size() > 1) held.erase(held.begin());
      for (const std::vector<BlockRef>& chain : held) {
        for (const BlockRef& ref : chain) Verify(ref);
      }
    }
  }

  void Extend(const NamespaceHandle& ns, const std::vector<TokenId>& prompt,
              std::vector<BlockRef>& refs) {
    for (size_t i = refs.size(); i < prompt.size() / kBlockTokens; ++i) {
      absl::StatusOr<WritableBlock> block = store_->Allocate(ns);
      if (!block.ok()) {
        store_->AwaitRoom(ns, absl::Now() + absl::Milliseconds(20));
        return;
      }
      const absl::Span<const TokenId> tokens =
          absl::MakeSpan(prompt).subspan(i * kBlockTokens, kBlockTokens);
      const BlockKey parent = i == 0 ? ns.root : refs.back().key();
      FillPayload(ChildKey(parent, tokens), block->bytes());
      refs.push_back(store_->Seal(ns, *std::move(block), parent, tokens));
      Verify(refs.back());
    }
  }

  void Verify(const BlockRef& ref) {
    ++verified_;
    if (!PayloadIsRight(ref.key(), ref.bytes())) ++wrong_;
  }

  std::atomic<int64_t> verified_ = 0;
  std::atomic<int64_t> wrong_ = 0;
};

TEST_F(StoreStressTest, EveryByteReadIsTheByteSealed) {
  eviction_ = StoreOptions().eviction;
  const uint32_t seed = TestSeed();
  OpenWithDisk(40, 48);
  const std::vector<NamespaceHandle> namespaces = {ns_, OpenNamespace(TestIdentity("second")),
                                                   OpenNamespace(TestIdentity("wide", 6))};
  // Some loads always fail, and some writes now and then.
  faults_->FailLoadsOf(ChainKeys(ns_.root, PromptTokens(2, 3), kBlockTokens)[1],
                       absl::DataLossError("bad bytes"));
  faults_->FailLoadsOf(ChainKeys(ns_.root, PromptTokens(3, 3), kBlockTokens)[2],
                       absl::InternalError("read failed"));
  std::vector<std::thread> clients;
  for (uint32_t i = 0; i < 4; ++i) {
    clients.emplace_back([&, i] { Client(seed + i, namespaces, 250); });
  }
  std::atomic<bool> stop = false;
  std::thread operator_thread([&] {
    for (int round = 0; !stop; ++round) {
      faults_->FailWrites(round % 5 == 0 ? absl::InternalError("write failed") : absl::OkStatus());
      CHECK(store_->Demote().ok());
      store_->stats();
      const absl::Status integrity = store_->CheckIntegrity();
      EXPECT_EQ(integrity, absl::OkStatus());
    }
  });
  for (std::thread& client : clients) client.join();
  stop = true;
  operator_thread.join();
  faults_->FailWrites(absl::OkStatus());
  EXPECT_GT(verified_, 1000);
  EXPECT_EQ(wrong_, 0);
  ASSERT_TRUE(store_->Demote().ok());
  const StoreStats stats = store_->stats();
  EXPECT_GT(stats.hit_disk_tokens, 0);
  EXPECT_GT(stats.hit_ram_tokens, 0);
  EXPECT_GT(stats.demoted_blocks, 0);
}

TEST_F(StoreStressTest, LookupsAreConservedWhenAllTicketsAreDone) {
  const uint32_t seed = TestSeed();
  OpenWithDisk(24, 64);
  std::vector<std::thread> clients;
  for (uint32_t i = 0; i < 4; ++i) {
    clients.emplace_back([&, i] { Client(seed + i, {ns_}, 200); });
  }
  for (std::thread& client : clients) client.join();
  // Loads are worked on in order, so the end of this one is the end of every abandoned one, but
  // for those that another thread is finishing.
  while (store_->stats().queued_transfers > 0) ASSERT_TRUE(store_->Demote().ok());
  PinNow(ns_, PromptTokens(1, 6));
  ExpectLookupsAreConserved();
}

}  // namespace
}  // namespace reprise::cachestore
