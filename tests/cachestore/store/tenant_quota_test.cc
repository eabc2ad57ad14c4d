// What tenants' quotas keep, against models and step by step.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/fakes/store_fixture.h"
#include "tests/fakes/test_seed.h"

namespace reprise::cachestore {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr absl::Duration kPatience = absl::Seconds(20);
constexpr int64_t kOfB = 16;  // blocks: 4 prompts of 4

class TenantQuotaTest : public StoreFixture {
 protected:
  void OpenTenants(int64_t a_slots, int64_t b_slots, TenantQuota more = {}) {
    a_ = OpenNamespace(TestIdentity("a"));
    b_ = OpenNamespace(TestIdentity("b"));
    store_->SetQuotas({{"a", {a_slots * kSlotBytes, more.ram_bytes * kSlotBytes}},
                       {"b", {b_slots * kSlotBytes, more.disk_bytes * kSlotBytes}}});
  }

  int64_t SlotsOf(const NamespaceHandle& ns, CacheTier tier) const {
    for (const NamespaceUsage& usage : store_->Usage()) {
      if (usage.name.id != ns.id) continue;
      return usage.tiers[static_cast<size_t>(tier)].bytes / kSlotBytes;
    }
    return 0;
  }
  int64_t RamSlots(const NamespaceHandle& ns) const { return SlotsOf(ns, CacheTier::kRam); }
  int64_t DiskSlots(const NamespaceHandle& ns) const { return SlotsOf(ns, CacheTier::kDisk); }

  // Waits until `ns` takes no more than `slots` of the tier. What it gives up are events.
  ::testing::AssertionResult ComesDownTo(const NamespaceHandle& ns, CacheTier tier, int64_t slots) {
    const absl::Time deadline = absl::Now() + kPatience;
    for (;;) {
      const uint64_t next = store_->next_event();
      const int64_t taken = SlotsOf(ns, tier);
      if (taken <= slots) return ::testing::AssertionSuccess();
      if (absl::Now() >= deadline) {
        return ::testing::AssertionFailure() << taken << " slots are taken, not " << slots;
      }
      store_->AwaitEvent(next, absl::Now() + absl::Milliseconds(50));
    }
  }

  // How many blocks of `ns` have left the tier since event `from`.
  int64_t Removed(const NamespaceHandle& ns, CacheTier tier, uint64_t& from) const {
    int64_t removed = 0;
    for (EventPage page = store_->Events(from, 1000); !page.events.empty();
         page = store_->Events(from, 1000)) {
      EXPECT_EQ(page.first, from) << "events were forgotten";
      for (const StoreEvent& event : page.events) {
        removed +=
            event.kind == EventKind::kRemoved && event.tier == tier && event.namespace_id == ns.id;
      }
      from = page.next();
    }
    return removed;
  }

  // Two tenants at random: A in many prompts, B in few that fit into its quota. Nothing of B leaves
  // RAM, whatever A does, and A never takes more than its quota. Of B's blocks, `new_of_b` are not
  // there yet.
  void RunTwoTenants(int64_t a_slots, int64_t b_slots, int64_t new_of_b, int steps) {
    std::mt19937 random(TestSeed());
    uint64_t from = store_->next_event();
    std::vector<std::vector<BlockRef>> held;
    int64_t hits_of_b = 0;
    int64_t asked_of_b = 0;
    for (int step = 0; step < steps; ++step) {
      const bool is_b = random() % 3 == 0;
      const NamespaceHandle& ns = is_b ? b_ : a_;
      const std::vector<TokenId> prompt =
          PromptTokens(static_cast<uint32_t>(random() % (is_b ? 4 : 60)), 1 + random() % 4);
      std::vector<BlockRef> refs = PinNow(ns, prompt).blocks;
      const int64_t num_blocks = static_cast<int64_t>(prompt.size()) / kBlockTokens;
      if (is_b) {
        hits_of_b += static_cast<int64_t>(refs.size());
        asked_of_b += num_blocks;
      }
      while (static_cast<int64_t>(refs.size()) < num_blocks) {
        const size_t i = refs.size();
        refs.push_back(SealOne(ns, i == 0 ? ns.root : refs.back().key(),
                               absl::MakeSpan(prompt).subspan(i * kBlockTokens, kBlockTokens)));
        ASSERT_TRUE(refs.back());
        ASSERT_LE(RamSlots(a_), a_slots) << "step " << step;
        ASSERT_LE(RamSlots(b_), b_slots) << "step " << step;
      }
      held.push_back(std::move(refs));
      while (held.size() > random() % 2) held.erase(held.begin());
      ASSERT_EQ(Removed(b_, CacheTier::kRam, from), 0) << "step " << step;
      if (step % 100 == 0) {
        ASSERT_EQ(store_->CheckIntegrity(), absl::OkStatus());
      }
    }
    EXPECT_EQ(asked_of_b - hits_of_b, new_of_b) << "each of these is missing once";
    EXPECT_GT(asked_of_b, 100);
    uint64_t first = 1;
    EXPECT_GT(Removed(a_, CacheTier::kRam, first), 100) << "A has not been short of room";
  }

  NamespaceHandle a_;
  NamespaceHandle b_;
};

TEST_F(TenantQuotaTest, WithoutDiskATenantEvictsItsOwnBlocksOnly) {
  OpenRamOnly(40);
  OpenTenants(12, 20);
  RunTwoTenants(12, 20, kOfB, 1500);
}

TEST_F(TenantQuotaTest, WithDiskATenantEvictsItsOwnBlocksOnly) {
  OpenWithDisk(40, 400);
  OpenTenants(12, 20);
  // Clean, so that they could be taken at once.
  for (uint32_t prompt = 0; prompt < 4; ++prompt) SealChain(b_, PromptTokens(prompt, 4));
  ASSERT_TRUE(store_->Demote().ok());
  for (uint32_t prompt = 0; prompt < 4; ++prompt) PinNow(b_, PromptTokens(prompt, 4));
  ASSERT_EQ(RamSlots(b_), kOfB);
  RunTwoTenants(12, 20, 0, 800);
  EXPECT_GT(store_->stats().hit_disk_tokens, 0);
}

TEST_F(TenantQuotaTest, QuotasAreKeptAndTakenBackWhileBlocksAreThere) {
  OpenWithDisk(40, 400);
  a_ = OpenNamespace(TestIdentity("a"));
  SealChain(a_, PromptTokens(1, 30));
  // Its first quota.
  store_->SetQuotas({{"a", {8 * kSlotBytes, 0}}});
  EXPECT_TRUE(ComesDownTo(a_, CacheTier::kRam, 8));
  EXPECT_EQ(store_->CheckIntegrity(), absl::OkStatus());
  EXPECT_EQ(store_->Match(a_, PromptTokens(1, 30), 100).total_blocks(), 30) << "disk has them";
  // A smaller one, while some are pinned.
  {
    const PinnedPrefix pinned = PinNow(a_, PromptTokens(1, 6));
    ASSERT_EQ(pinned.blocks.size(), 6u);
    store_->SetQuotas({{"a", {4 * kSlotBytes, 0}}});
    EXPECT_TRUE(ComesDownTo(a_, CacheTier::kRam, 6));
    EXPECT_FALSE(store_->Allocate(a_).ok());
  }
  EXPECT_TRUE(ComesDownTo(a_, CacheTier::kRam, 4)) << "pins have gone, nobody has asked since";
  EXPECT_EQ(store_->Quotas(), (QuotasByTenant{{"a", {4 * kSlotBytes, 0}}}));
  store_->SetQuotas({});
  EXPECT_TRUE(store_->Quotas().empty());
  const std::vector<BlockRef> refs = SealChain(a_, PromptTokens(2, 20));
  EXPECT_GE(RamSlots(a_), 20);
}

TEST_F(TenantQuotaTest, ABlockLargerThanTheQuotaIsRefusedByName) {
  OpenRamOnly(8);
  a_ = OpenNamespace(TestIdentity("a", /*heads=*/4));
  store_->SetQuotas({{"a", {kSlotBytes, 0}}});
  EXPECT_FALSE(store_->FitsQuota(a_));
  EXPECT_TRUE(store_->FitsQuota(ns_));
  const absl::Status status = store_->Allocate(a_).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("tenant a may take 4096 bytes of RAM"), HasSubstr("takes 8192")));
  EXPECT_TRUE(store_->Allocate(ns_).ok());
}

TEST_F(TenantQuotaTest, WhatOneTenantHasNoRoomForKeepsNoOtherFromPuttingAndLoading) {
  OpenWithDisk(24, 100);
  OpenTenants(4, 8);
  SealChain(b_, PromptTokens(2, 6));
  SealChain(a_, PromptTokens(7, 3));
  ASSERT_TRUE(store_->Demote().ok());
  // A's RAM is pinned, but for a block that a write to disk which does not end keeps there.
  faults_->CloseWriteGate();
  const std::vector<BlockRef> pinned = SealChain(a_, PromptTokens(1, 3));
  ASSERT_TRUE(SealOne(a_, a_.root, PromptTokens(8, 1)));
  EXPECT_EQ(store_->Allocate(a_).status().code(), absl::StatusCode::kResourceExhausted);
  faults_->AwaitWrites(1);
  // A load of A waits for room within its quota; B's of the same size goes on.
  PinTicket of_a = store_->Pin(a_, PromptTokens(7, 3), 3, nullptr);
  ASSERT_EQ(store_->stats().starving_tickets, 1);
  EXPECT_EQ(PinNow(b_, PromptTokens(2, 6)).blocks.size(), 6u);
  EXPECT_TRUE(SealOne(b_, b_.root, PromptTokens(3, 1)));
  faults_->OpenWriteGate();
  ASSERT_TRUE(of_a.Wait(absl::Now() + kPatience));
  EXPECT_EQ(of_a.Take().blocks.size(), 1u) << "the others have no room";
}

TEST_F(TenantQuotaTest, WhereRamIsFullTheTenantThatHasWaitedLongestIsServedFirst) {
  OpenWithDisk(8, 100);
  OpenTenants(8, 8);  // more together than there is
  SealChain(a_, PromptTokens(1, 1));
  SealChain(b_, PromptTokens(2, 1));
  ASSERT_TRUE(store_->Demote().ok());
  // RAM is pinned, but for a block that a write to disk which does not end keeps there.
  faults_->CloseWriteGate();
  const std::vector<BlockRef> pinned = SealChain(ns_, PromptTokens(3, 7));
  SealChain(ns_, PromptTokens(4, 1));
  EXPECT_FALSE(store_->Allocate(ns_).ok());
  faults_->AwaitWrites(1);
  PinTicket of_b = store_->Pin(b_, PromptTokens(2, 1), 1, nullptr);
  PinTicket of_a = store_->Pin(a_, PromptTokens(1, 1), 1, nullptr);
  ASSERT_EQ(store_->stats().starving_tickets, 2);
  faults_->OpenWriteGate();
  ASSERT_TRUE(of_b.Wait(absl::Now() + kPatience));
  ASSERT_TRUE(of_a.Wait(absl::Now() + kPatience));
  EXPECT_EQ(of_b.Take().blocks.size(), 1u);
  EXPECT_EQ(of_a.Take().blocks.size(), 0u) << "there is no room for both";
}

TEST_F(TenantQuotaTest, ASequenceIsNeverRefusedAndWhatIsTooMuchGoesWithItsLastPin) {
  for (const bool has_disk : {false, true}) {
    if (has_disk) {
      OpenWithDisk(24, 100);
    } else {
      OpenRamOnly(24);
    }
    OpenTenants(3, 8);
    const std::vector<BlockRef> pinned = SealChain(a_, PromptTokens(1, 3));
    EXPECT_FALSE(store_->Allocate(a_).ok());
    {
      auto block = store_->Allocate(a_, Tier::kRam, Purpose::kCompute);
      ASSERT_TRUE(block.ok()) << block.status();
      const std::vector<TokenId> tokens = PromptTokens(9, 1);
      FillPayload(ChildKey(a_.root, tokens), block->bytes());
      const BlockRef sealed = store_->Seal(a_, *std::move(block), a_.root, tokens);
      EXPECT_EQ(RamSlots(a_), 4);
    }
    if (!has_disk) {
      EXPECT_EQ(RamSlots(a_), 3) << "nothing is to be waited for";
    }
    EXPECT_TRUE(ComesDownTo(a_, CacheTier::kRam, 3));
  }
}

TEST_F(TenantQuotaTest, OnDiskATenantMakesRoomAmongItsOwn) {
  OpenWithDisk(40, 60);
  OpenTenants(12, 12, {.ram_bytes = 16, .disk_bytes = 30});
  SealChain(b_, PromptTokens(1, 12));
  ASSERT_TRUE(store_->Demote().ok());
  EXPECT_EQ(DiskSlots(b_), 12);
  uint64_t from = store_->next_event();
  for (uint32_t prompt = 10; prompt < 30; ++prompt) {
    SealChain(a_, PromptTokens(prompt, 4));
    EXPECT_LE(DiskSlots(a_), 16 + 4) << "but for those of the batch that is being stored";
  }
  ASSERT_TRUE(store_->Demote().ok());
  EXPECT_LE(DiskSlots(a_), 16);
  EXPECT_GE(DiskSlots(a_), 12);
  EXPECT_EQ(Removed(b_, CacheTier::kDisk, from), 0);
  EXPECT_EQ(PinNow(a_, PromptTokens(29, 4)).blocks.size(), 4u) << "the last ones stay";
  EXPECT_EQ(PinNow(b_, PromptTokens(1, 12)).blocks.size(), 12u);
}

TEST_F(TenantQuotaTest, WhatIsRecoveredIsItsTenantsBeforeAnybodyOpensIt) {
  OpenWithDisk(40, 100);
  OpenTenants(20, 20);
  SealChain(a_, PromptTokens(1, 18));
  SealChain(b_, PromptTokens(2, 9));
  ASSERT_TRUE(store_->Demote().ok());
  OpenWithDisk(40, 100);
  store_->SetQuotas({{"a", {0, 6 * kSlotBytes}}});
  EXPECT_TRUE(ComesDownTo(OpenNamespace(TestIdentity("a")), CacheTier::kDisk, 6));
  EXPECT_EQ(store_->CheckIntegrity(), absl::OkStatus());
  EXPECT_EQ(store_->Match(OpenNamespace(TestIdentity("a")), PromptTokens(1, 18), 100).disk_blocks,
            6);
  EXPECT_EQ(store_->Match(OpenNamespace(TestIdentity("b")), PromptTokens(2, 9), 100).disk_blocks,
            9);
}

TEST_F(TenantQuotaTest, OfAChainLongerThanTheDiskQuotaTheFirstBlocksStay) {
  OpenWithDisk(100, 200);
  OpenTenants(70, 30, {.ram_bytes = 16, .disk_bytes = 30});
  SealChain(a_, PromptTokens(1, 48));
  ASSERT_TRUE(store_->Demote(absl::Now() + kPatience).ok());
  EXPECT_EQ(DiskSlots(a_), 16);
  EXPECT_EQ(store_->Match(a_, PromptTokens(1, 48), 100).disk_blocks, 16);
  // All that it has on disk is in use, so that there is no room for any more.
  const PinnedPrefix pinned = PinNow(a_, PromptTokens(1, 16));
  ASSERT_EQ(pinned.blocks.size(), 16u);
  SealChain(a_, PromptTokens(3, 40));
  SealChain(b_, PromptTokens(2, 10));
  ASSERT_TRUE(store_->Demote(absl::Now() + kPatience).ok());
  EXPECT_EQ(DiskSlots(a_), 16);
  EXPECT_EQ(DiskSlots(b_), 10) << "another tenant's go on";
  EXPECT_EQ(PinNow(b_, PromptTokens(2, 10)).disk_blocks, 10);
}

TEST_F(TenantQuotaTest, ABlockLargerThanTheDiskQuotaTakesNothing) {
  OpenWithDisk(16, 100);
  OpenTenants(8, 8, {.ram_bytes = 1, .disk_bytes = 8});
  const NamespaceHandle large = OpenNamespace(TestIdentity("a", /*heads=*/4));
  SealChain(a_, PromptTokens(1, 1));
  ASSERT_TRUE(store_->Demote().ok());
  SealChain(large, PromptTokens(1, 1));
  ASSERT_TRUE(store_->Demote().ok());
  EXPECT_EQ(DiskSlots(large), 0);
  EXPECT_EQ(PinNow(a_, PromptTokens(1, 1)).disk_blocks, 1);
}

TEST_F(TenantQuotaTest, ALargeBlockTakesTheDisksSmallOnesOnlyIfItFitsThen) {
  OpenWithDisk(16, 100);
  OpenTenants(8, 8, {.ram_bytes = 4, .disk_bytes = 8});
  const NamespaceHandle large = OpenNamespace(TestIdentity("a", /*heads=*/8));  // 4 slots
  SealChain(a_, PromptTokens(1, 2));
  SealChain(a_, PromptTokens(2, 1));
  ASSERT_TRUE(store_->Demote().ok());
  PinnedPrefix pinned = PinNow(a_, PromptTokens(1, 2));
  ASSERT_EQ(pinned.blocks.size(), 2u);
  SealChain(large, PromptTokens(3, 1));
  ASSERT_TRUE(store_->Demote().ok());
  EXPECT_EQ(DiskSlots(large), 0);
  EXPECT_EQ(DiskSlots(a_), 3) << "the third is not erased, because the other two stay";
  pinned.blocks.clear();
  SealChain(large, PromptTokens(4, 1));
  ASSERT_TRUE(store_->Demote().ok());
  EXPECT_EQ(DiskSlots(large), 4) << "the chain of two goes from its end";
  EXPECT_EQ(DiskSlots(a_), 0);
}

TEST_F(TenantQuotaTest, WhatPinsKeepOnDiskBeyondTheQuotaGoesAfterThem) {
  OpenWithDisk(16, 100);
  OpenTenants(16, 16);
  SealChain(a_, PromptTokens(1, 8));
  ASSERT_TRUE(store_->Demote().ok());
  PinnedPrefix pinned = PinNow(a_, PromptTokens(1, 8));
  ASSERT_EQ(pinned.blocks.size(), 8u);
  store_->SetQuotas({{"a", {0, 4 * kSlotBytes}}});
  // By the end of the second one the demoter has looked in vain.
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(store_->Demote().ok());
  EXPECT_EQ(DiskSlots(a_), 8);
  pinned.blocks.clear();
  EXPECT_TRUE(ComesDownTo(a_, CacheTier::kDisk, 4));
  EXPECT_EQ(store_->Match(a_, PromptTokens(1, 8), 100).total_blocks(), 4);
}

TEST_F(TenantQuotaTest, AnEraseThatFailsIsTriedAgain) {
  OpenWithDisk(16, 100);
  OpenTenants(8, 8, {.ram_bytes = 4, .disk_bytes = 8});
  SealChain(a_, PromptTokens(1, 4));
  ASSERT_TRUE(store_->Demote().ok());
  ASSERT_EQ(DiskSlots(a_), 4);
  faults_->CloseWriteGate();
  faults_->FailWrites(absl::UnavailableError("away"));
  for (uint32_t prompt = 10; prompt < 18; ++prompt) SealChain(a_, PromptTokens(prompt, 1));
  EXPECT_FALSE(store_->Allocate(a_).ok());
  // The first one makes room for what is to be stored.
  faults_->AwaitWrites(1);
  faults_->LetWritesPass(1);
  faults_->AwaitWrites(2);
  EXPECT_EQ(store_->stats().failed_disk_writes, 1);
  faults_->FailWrites(absl::OkStatus());
  faults_->OpenWriteGate();
  ASSERT_TRUE(store_->Demote(absl::Now() + kPatience).ok());
  EXPECT_EQ(store_->stats().rejected_blocks, 0) << "there is room for each";
  EXPECT_EQ(DiskSlots(a_), 4);
  EXPECT_EQ(PinNow(a_, PromptTokens(17, 1)).disk_blocks, 1);
}

TEST_F(TenantQuotaTest, QuotasChangeWhileTenantsPutAndLoadAndEverythingMovesToDisk) {
  constexpr int kTenants = 4;
  OpenWithDisk(48, 300);
  const uint32_t seed = TestSeed();
  std::atomic<int> running = kTenants;
  std::vector<std::thread> tenants;
  for (uint32_t t = 0; t < kTenants; ++t) {
    tenants.emplace_back([&, t] {
      std::mt19937 random(seed + t);
      for (int step = 0; step < 300 && !HasFailure(); ++step) {
        // Blocks of two sizes, in namespaces that are opened at any time.
        const NamespaceHandle ns =
            OpenNamespace(TestIdentity(absl::StrCat("t", t), random() % 4 == 0 ? 4 : 1));
        SealChain(ns, PromptTokens(static_cast<uint32_t>(random() % 40), 1 + random() % 4));
        PinNow(ns, PromptTokens(static_cast<uint32_t>(random() % 40), 1 + random() % 4));
      }
      --running;
    });
  }
  std::mt19937 random(seed);
  QuotasByTenant quotas;
  for (int round = 0; running > 0; ++round) {
    quotas.clear();
    for (int t = 0; t < kTenants; ++t) {
      if (random() % 4 == 0) continue;
      // Room for a chain of large blocks at least; on disk maybe for less than one.
      quotas[absl::StrCat("t", t)] = {
          static_cast<int64_t>(random() % 3 == 0 ? 0 : 10 + random() % 9),
          static_cast<int64_t>(random() % 3 == 0 ? 0 : 1 + random() % 30)};
    }
    for (auto& [tenant, quota] : quotas) {
      quota = {quota.ram_bytes * kSlotBytes, quota.disk_bytes * kSlotBytes};
    }
    store_->SetQuotas(quotas);
    if (round % 3 == 0) {
      EXPECT_TRUE(store_->Demote(absl::Now() + kPatience).ok());
    }
    if (round % 10 == 0) {
      EXPECT_EQ(store_->CheckIntegrity(), absl::OkStatus());
    }
  }
  for (std::thread& tenant : tenants) tenant.join();
  EXPECT_TRUE(store_->Demote(absl::Now() + kPatience).ok());
  const auto bytes_of = [&](const std::string& tenant, CacheTier tier) {
    int64_t bytes = 0;
    for (const NamespaceUsage& usage : store_->Usage()) {
      if (usage.name.tenant == tenant) bytes += usage.tiers[static_cast<size_t>(tier)].bytes;
    }
    return bytes;
  };
  for (const auto& [tenant, quota] : quotas) {
    EXPECT_LE(bytes_of(tenant, CacheTier::kRam), quota.ram_bytes == 0 ? 1 << 30 : quota.ram_bytes);
    if (quota.disk_bytes == 0) continue;
    const absl::Time deadline = absl::Now() + kPatience;
    while (bytes_of(tenant, CacheTier::kDisk) > quota.disk_bytes && absl::Now() < deadline) {
      store_->AwaitEvent(store_->next_event(), absl::Now() + absl::Milliseconds(50));
    }
    EXPECT_LE(bytes_of(tenant, CacheTier::kDisk), quota.disk_bytes);
  }
}

}  // namespace
}  // namespace reprise::cachestore
