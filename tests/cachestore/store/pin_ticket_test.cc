#include "cachestore/store/pin_ticket.h"

#include <gtest/gtest.h>

#include <atomic>
#include <ctime>
#include <limits>
#include <map>
#include <thread>
#include <vector>

#include "absl/synchronization/notification.h"
#include "tests/fakes/store_fixture.h"

namespace reprise::cachestore {
namespace {

class PinTicketTest : public StoreFixture {
 protected:
  // Opens a store in which the chain of `prompt` is on disk only.
  void PutOnDisk(uint32_t prompt, int64_t num_blocks, int64_t ram_slots = 16) {
    OpenWithDisk(ram_slots, 64);
    SealChain(ns_, PromptTokens(prompt, num_blocks));
    ASSERT_TRUE(store_->Demote().ok());
    ASSERT_EQ(store_->Match(ns_, PromptTokens(prompt, num_blocks), 100).disk_blocks, num_blocks);
    keys_ = ChainKeys(ns_.root, PromptTokens(prompt, num_blocks), kBlockTokens);
  }
  PinTicket Pin(uint32_t prompt, int64_t num_blocks) {
    return store_->Pin(ns_, PromptTokens(prompt, num_blocks), 100, nullptr);
  }
  static absl::Time Soon() { return absl::Now() + absl::Seconds(60); }

  std::vector<BlockKey> keys_;
};

constexpr int64_t kChain = 6;

TEST_F(PinTicketTest, AFailedLoadAtEveryPlaceLeavesTheGoodBlocksBeforeIt) {
  for (const absl::Status& fault :
       {absl::DataLossError("bad bytes"), absl::NotFoundError("no such block"),
        absl::InternalError("read failed")}) {
    for (int64_t bad = 0; bad < kChain; ++bad) {
      SCOPED_TRACE(testing::Message() << fault << " at " << bad);
      contents_ = std::make_shared<MemoryTierContents>();
      faults_ = std::make_shared<FaultPlan>();
      PutOnDisk(1, kChain);
      faults_->FailLoadsOf(keys_[bad], fault);
      EXPECT_EQ(PinNow(ns_, PromptTokens(1, kChain)).disk_blocks, bad);
      const StoreStats stats = store_->stats();
      EXPECT_EQ(stats.hit_disk_tokens, bad * kBlockTokens);
      EXPECT_EQ(stats.missed_corrupt_tokens, absl::IsDataLoss(fault) ? kBlockTokens : 0);
      EXPECT_EQ(stats.missed_lost_tokens, absl::IsNotFound(fault) ? kBlockTokens : 0);
      EXPECT_EQ(stats.missed_io_error_tokens, absl::IsInternal(fault) ? kBlockTokens : 0);
      EXPECT_EQ(stats.missed_after_miss_tokens, (kChain - bad - 1) * kBlockTokens);
      ExpectLookupsAreConserved();
      ASSERT_TRUE(store_->Demote().ok());
      const int64_t left = absl::IsInternal(fault) ? kChain : bad;
      EXPECT_EQ(store_->Match(ns_, PromptTokens(1, kChain), 100).total_blocks(), left);
      // Loads of blocks behind the bad one may outlast the ticket, and their copies go after them.
      const absl::Time deadline = absl::Now() + absl::Seconds(60);
      while (store_->stats().disk_used_bytes != left * kSlotBytes && absl::Now() < deadline) {
        std::this_thread::yield();
      }
      EXPECT_EQ(static_cast<int64_t>(contents_->items.size()), left) << "erased from disk too";
      EXPECT_EQ(store_->CheckIntegrity(), absl::OkStatus());
      // Computed again, the blocks are cached again.
      faults_->FailLoadsOf(keys_[bad], absl::OkStatus());
      SealChain(ns_, PromptTokens(1, kChain));
      ASSERT_TRUE(store_->Demote().ok());
      EXPECT_EQ(PinNow(ns_, PromptTokens(1, kChain)).disk_blocks, kChain);
    }
  }
}

TEST_F(PinTicketTest, ABadBlockIsSealedAgainRightAfterItsMiss) {
  PutOnDisk(1, 3);
  faults_->FailLoadsOf(keys_[1], absl::DataLossError("bad bytes"));
  PinnedPrefix prefix = PinNow(ns_, PromptTokens(1, 3));
  ASSERT_EQ(prefix.blocks.size(), 1u);
  EXPECT_FALSE(prefix.is_late);
  // Whether or not the disk has forgotten the bad copy by now.
  SealChain(ns_, PromptTokens(1, 3));
  EXPECT_EQ(store_->Match(ns_, PromptTokens(1, 3), 100).ram_blocks, 3);
  ASSERT_TRUE(store_->Demote().ok());
  EXPECT_EQ(store_->Match(ns_, PromptTokens(1, 3), 100).total_blocks(), 3);
}

TEST_F(PinTicketTest, PinnedBlocksBehindALostOneStayReadableAndGoWithTheirPins) {
  PutOnDisk(1, 4);
  PinnedPrefix prefix = PinNow(ns_, PromptTokens(1, 4));
  ASSERT_EQ(prefix.blocks.size(), 4u);
  prefix.blocks.erase(prefix.blocks.begin(), prefix.blocks.begin() + 2);
  ASSERT_TRUE(store_->Demote().ok());
  ASSERT_EQ(store_->stats().ram_blocks, 2);
  faults_->FailLoadsOf(keys_[1], absl::DataLossError("bad bytes"));
  EXPECT_EQ(PinNow(ns_, PromptTokens(1, 4)).blocks.size(), 1u);
  ASSERT_TRUE(store_->Demote().ok());
  EXPECT_EQ(store_->CheckIntegrity(), absl::OkStatus());
  for (const BlockRef& ref : prefix.blocks) EXPECT_TRUE(PayloadIsRight(ref.key(), ref.bytes()));
  EXPECT_EQ(store_->Match(ns_, PromptTokens(1, 4), 100).total_blocks(), 1);
  prefix.blocks.clear();
  EXPECT_EQ(store_->stats().ram_blocks, 0);
  EXPECT_EQ(contents_->items.size(), 1u);
}

TEST_F(PinTicketTest, ARangeOfAPrefixLongerThanRamIsLoadedAlone) {
  PutOnDisk(1, 12, /*ram_slots=*/12);
  OpenWithDisk(/*ram_slots=*/3, 64);
  const std::vector<TokenId> tokens = PromptTokens(1, 12);
  for (int64_t first = 0; first < 12; first += 3) {
    PinTicket ticket = store_->Pin(ns_, tokens, BlockRange{.first = first, .count = 3}, nullptr);
    EXPECT_EQ(ticket.matched_blocks(), 3);
    ASSERT_TRUE(ticket.Wait(Soon()));
    const PinnedPrefix range = ticket.Take();
    ASSERT_EQ(range.blocks.size(), 3u);
    for (int64_t i = 0; i < 3; ++i) {
      EXPECT_EQ(range.blocks[i].key(), keys_[first + i]);
      EXPECT_TRUE(PayloadIsRight(keys_[first + i], range.blocks[i].bytes()));
    }
    EXPECT_EQ(store_->stats().pinned_blocks, 3);
  }
  EXPECT_EQ(store_->stats().looked_up_tokens, 12 * kBlockTokens);
  EXPECT_EQ(faults_->loads(), 12);
  ExpectLookupsAreConserved();
}

TEST_F(PinTicketTest, ARangeHoldsNothingWhenTheChainBreaksBeforeItOrItLiesBehindTheEnd) {
  PutOnDisk(1, 6);
  std::vector<TokenId> tokens = PromptTokens(1, 6);
  const auto pin = [&](BlockRange range) {
    PinTicket ticket = store_->Pin(ns_, tokens, range, nullptr);
    EXPECT_TRUE(ticket.Wait(Soon()));
    return ticket.Take().blocks.size();
  };
  constexpr int64_t kFar = std::numeric_limits<int64_t>::max();
  EXPECT_EQ(pin({.first = 4, .count = kFar}), 2u);
  EXPECT_EQ(pin({.first = 6, .count = 1}), 0u);
  EXPECT_EQ(pin({.first = kFar, .count = kFar}), 0u);
  EXPECT_EQ(pin({.first = 2, .count = -1}), 0u);
  EXPECT_EQ(store_->stats().looked_up_tokens, 2 * kBlockTokens);
  tokens[2 * kBlockTokens] += 1;
  EXPECT_EQ(pin({.first = 3, .count = 2}), 0u);
  EXPECT_EQ(store_->stats().missed_absent_tokens, 2 * kBlockTokens);
  EXPECT_EQ(pin({.first = 1, .count = 2}), 1u);
  EXPECT_EQ(store_->stats().missed_absent_tokens, 3 * kBlockTokens);
  ExpectLookupsAreConserved();
}

TEST_F(PinTicketTest, TwoTicketsShareOneLoad) {
  PutOnDisk(1, 3);
  faults_->CloseLoadGate();
  PinTicket first = Pin(1, 3);
  faults_->AwaitLoads(1);
  PinTicket second = Pin(1, 2);
  EXPECT_FALSE(first.done());
  EXPECT_FALSE(second.done());
  EXPECT_FALSE(second.Wait(absl::Now()));
  EXPECT_EQ(second.matched_blocks(), 2);
  faults_->OpenLoadGate();
  ASSERT_TRUE(first.Wait(Soon()));
  ASSERT_TRUE(second.Wait(Soon()));
  EXPECT_EQ(first.Take().disk_blocks, 3);
  EXPECT_EQ(second.Take().disk_blocks, 2);
  EXPECT_EQ(faults_->loads(), 3);
  ExpectLookupsAreConserved();
}

TEST_F(PinTicketTest, AnAbandonedTicketGivesItsPinsBackAndStopsLoading) {
  PutOnDisk(1, 12);
  faults_->CloseLoadGate();
  { const PinTicket abandoned = Pin(1, 12); }
  EXPECT_EQ(store_->stats().pinned_blocks, 0);
  EXPECT_EQ(store_->stats().missed_abandoned_tokens, 12 * kBlockTokens);
  ExpectLookupsAreConserved();
  faults_->OpenLoadGate();
  store_.reset();
  EXPECT_EQ(faults_->loads(), 2) << "those that were under way";
}

TEST_F(PinTicketTest, ATicketThatJoinsTheLoadsOfAnAbandonedOneGetsItsBlocks) {
  PutOnDisk(1, 3);
  faults_->CloseLoadGate();
  PinTicket abandoned = Pin(1, 3);
  PinTicket joined = Pin(1, 3);
  abandoned = PinTicket();
  faults_->OpenLoadGate();
  ASSERT_TRUE(joined.Wait(Soon()));
  EXPECT_EQ(joined.Take().disk_blocks, 3);
  EXPECT_EQ(faults_->loads(), 3);
  ASSERT_TRUE(store_->Demote().ok());
  EXPECT_EQ(store_->stats().looked_up_tokens, 6 * kBlockTokens);
  ExpectLookupsAreConserved();
}

TEST_F(PinTicketTest, EveryQueuedTicketEndsWhenNoRoomCanCome) {
  OpenWithDisk(/*ram_slots=*/16, 64);
  for (const auto& [prompt, blocks] :
       std::map<uint32_t, int64_t>{{1, 4}, {2, 2}, {3, 1}, {4, 1}, {5, 1}, {6, 1}}) {
    SealChain(ns_, PromptTokens(prompt, blocks));
  }
  ASSERT_TRUE(store_->Demote().ok());
  OpenWithDisk(/*ram_slots=*/6, 64);
  const PinnedPrefix held = PinNow(ns_, PromptTokens(1, 4));
  ASSERT_EQ(held.blocks.size(), 4u);
  faults_->CloseLoadGate();
  PinTicket running = Pin(2, 2);  // takes the last slots, and all loads that may be under way
  faults_->AwaitLoads(4 + 2);
  std::vector<PinTicket> queued;
  for (uint32_t prompt = 3; prompt <= 6; ++prompt) queued.push_back(Pin(prompt, 1));
  faults_->OpenLoadGate();
  ASSERT_TRUE(running.Wait(Soon()));
  EXPECT_EQ(running.Take().blocks.size(), 2u);
  for (PinTicket& ticket : queued) {
    ASSERT_TRUE(ticket.Wait(Soon()));
    EXPECT_LE(ticket.Take().blocks.size(), 1u);
  }
  EXPECT_GT(store_->stats().missed_no_room_tokens, 0);
  ExpectLookupsAreConserved();
}

TEST_F(PinTicketTest, TicketsThatWaitForTheSameRoomWaitAtTheSameTime) {
  constexpr uint32_t kTickets = 20;
  OpenWithDisk(/*ram_slots=*/32, 64);
  for (uint32_t prompt = 1; prompt <= kTickets; ++prompt) SealChain(ns_, PromptTokens(prompt, 1));
  ASSERT_TRUE(store_->Demote().ok());
  OpenWithDisk(/*ram_slots=*/4, 64);
  faults_->CloseWriteGate();
  SealChain(ns_, PromptTokens(100, 4));  // cannot go while writes hang
  const absl::Time begin = absl::Now();
  std::vector<PinTicket> tickets;
  for (uint32_t prompt = 1; prompt <= kTickets; ++prompt) tickets.push_back(Pin(prompt, 1));
  for (PinTicket& ticket : tickets) {
    ASSERT_TRUE(ticket.Wait(Soon()));
    EXPECT_EQ(ticket.Take().blocks.size(), 0u);
  }
  EXPECT_LT(absl::Now() - begin, absl::Seconds(5)) << "half a second each, one after the other";
  EXPECT_EQ(store_->stats().missed_no_room_tokens, kTickets * kBlockTokens);
  faults_->OpenWriteGate();
}

TEST_F(PinTicketTest, ATicketThatFoundNoRoomAndStillLoadsKeepsNoThreadBusy) {
  PutOnDisk(1, 2);
  OpenWithDisk(/*ram_slots=*/4, 64);
  faults_->CloseWriteGate();
  SealChain(ns_, PromptTokens(2, 3));  // cannot go while writes hang
  faults_->CloseLoadGate();
  PinTicket ticket = Pin(1, 2);
  ASSERT_EQ(store_->stats().pinned_blocks, 2);
  const absl::Time deadline = Soon();
  while (store_->stats().pinned_blocks == 2 && absl::Now() < deadline) std::this_thread::yield();
  ASSERT_EQ(store_->stats().pinned_blocks, 1) << "the second block is given up";
  ASSERT_FALSE(ticket.done());
  PinTicket timed = store_->Pin(ns_, PromptTokens(1, 1), 100, nullptr, Soon());  // wakes the thread
  const std::clock_t begin = std::clock();
  EXPECT_FALSE(ticket.Wait(absl::Now() + absl::Seconds(1)));
  EXPECT_LT(std::clock() - begin, CLOCKS_PER_SEC / 20) << "CPU time of the process";
  faults_->OpenLoadGate();
  ASSERT_TRUE(ticket.Wait(Soon()));
  EXPECT_EQ(ticket.Take().disk_blocks, 1);
  ASSERT_TRUE(timed.Wait(Soon()));
  EXPECT_EQ(timed.Take().disk_blocks, 1);
  faults_->OpenWriteGate();
}

TEST_F(PinTicketTest, AStoreClosesWithAbandonedLoadsUnderWay) {
  PutOnDisk(1, 6);
  faults_->CloseLoadGate();
  { const PinTicket abandoned = Pin(1, 6); }
  faults_->AwaitLoads(1);
  std::thread opener([this] { faults_->OpenLoadGate(); });
  store_.reset();
  opener.join();
}

TEST_F(PinTicketTest, ABlockSealedWhileItLoadsIsReadableAtOnce) {
  PutOnDisk(1, 2);
  faults_->CloseLoadGate();
  PinTicket ticket = Pin(1, 2);
  faults_->AwaitLoads(1);
  const std::vector<BlockRef> sealed = SealChain(ns_, PromptTokens(1, 2));
  EXPECT_EQ(store_->Match(ns_, PromptTokens(1, 2), 100).ram_blocks, 2);
  faults_->FailLoadsOf(keys_[0], absl::DataLossError("bad bytes"));
  faults_->OpenLoadGate();
  ASSERT_TRUE(ticket.Wait(Soon()));
  const PinnedPrefix prefix = ticket.Take();
  ASSERT_GE(prefix.blocks.size(), 1u);
  EXPECT_EQ(prefix.blocks[0].bytes().data(), sealed[0].bytes().data());
  ExpectLookupsAreConserved();
}

TEST_F(PinTicketTest, WithoutRoomTheTicketHoldsWhatFits) {
  PutOnDisk(1, 4, /*ram_slots=*/4);
  const std::vector<BlockRef> pins = SealChain(ns_, PromptTokens(2, 3));
  const PinnedPrefix prefix = PinNow(ns_, PromptTokens(1, 4));
  EXPECT_EQ(prefix.disk_blocks, 1);
  EXPECT_EQ(store_->stats().missed_no_room_tokens, kBlockTokens);
  EXPECT_EQ(store_->stats().missed_after_miss_tokens, 2 * kBlockTokens);
  ExpectLookupsAreConserved();
}

TEST_F(PinTicketTest, LoadsMakeRoomByDemotingBlocksThatAreOnlyInRam) {
  PutOnDisk(1, 8, /*ram_slots=*/8);
  SealChain(ns_, PromptTokens(2, 8));
  EXPECT_EQ(PinNow(ns_, PromptTokens(1, 8)).blocks.size(), 8u);
  EXPECT_EQ(store_->Match(ns_, PromptTokens(2, 8), 100).disk_blocks, 8);
}

TEST_F(PinTicketTest, WithTooManyTicketsLoadingTheNextOneGetsWhatIsInRam) {
  max_loading_tickets_ = 2;
  PutOnDisk(1, 10);
  const std::vector<BlockRef> in_ram = SealChain(ns_, PromptTokens(2, 2));
  faults_->CloseLoadGate();
  PinTicket first = Pin(1, 10);
  PinTicket second = Pin(1, 10);
  PinTicket refused = Pin(1, 10);
  ASSERT_TRUE(refused.Wait(absl::InfinitePast()));
  EXPECT_EQ(refused.Take().blocks.size(), 0u);
  EXPECT_EQ(PinNow(ns_, PromptTokens(2, 2)).ram_blocks, 2);
  EXPECT_EQ(store_->stats().missed_queue_full_tokens, kBlockTokens);
  EXPECT_EQ(store_->stats().missed_after_miss_tokens, 9 * kBlockTokens);
  faults_->OpenLoadGate();
  ASSERT_TRUE(first.Wait(Soon()));
  ASSERT_TRUE(second.Wait(Soon()));
  EXPECT_EQ(first.Take().disk_blocks, 10);
  EXPECT_EQ(second.Take().disk_blocks, 10);
  EXPECT_EQ(PinNow(ns_, PromptTokens(1, 10)).ram_blocks, 10) << "there is room in the queue again";
  ExpectLookupsAreConserved();
}

TEST_F(PinTicketTest, AfterItsDeadlineATicketHoldsWhatIsLoaded) {
  PutOnDisk(1, 6);
  { const PinnedPrefix prefix = PinNow(ns_, PromptTokens(1, 2)); }  // the first two are in RAM
  faults_->CloseLoadGate();
  PinTicket ticket =
      store_->Pin(ns_, PromptTokens(1, 6), 100, nullptr, absl::Now() + absl::Seconds(1));
  EXPECT_FALSE(ticket.done());
  ASSERT_TRUE(ticket.Wait(Soon())) << "although no load has ended";
  const PinnedPrefix prefix = ticket.Take();
  EXPECT_EQ(prefix.ram_blocks, 2);
  EXPECT_EQ(prefix.disk_blocks, 0);
  EXPECT_TRUE(prefix.is_late);
  EXPECT_EQ(store_->stats().pinned_blocks, 2);
  EXPECT_EQ(store_->stats().missed_deadline_tokens, kBlockTokens);
  EXPECT_EQ(store_->stats().missed_after_miss_tokens, 3 * kBlockTokens);
  ExpectLookupsAreConserved();
  faults_->OpenLoadGate();
}

TEST_F(PinTicketTest, DemotionThatWaitedForATicketGoesOnAfterItsDeadline) {
  ram_free_low_watermark_ = 0.25;
  PutOnDisk(1, 2, /*ram_slots=*/64);
  faults_->CloseLoadGate();
  PinTicket ticket =
      store_->Pin(ns_, PromptTokens(1, 2), 100, nullptr, absl::Now() + absl::Milliseconds(500));
  // Past the watermark of 16 slots, and more than half of that is left.
  SealChain(ns_, PromptTokens(2, 50));
  EXPECT_TRUE(store_->stats().disk_blocks == 2 || ticket.done());
  ASSERT_TRUE(ticket.Wait(Soon()));
  const absl::Time deadline = absl::Now() + absl::Seconds(20);
  while (store_->stats().disk_blocks == 2 && absl::Now() < deadline) std::this_thread::yield();
  EXPECT_GT(store_->stats().disk_blocks, 2);
  EXPECT_EQ(ticket.Take().blocks.size(), 0u);
  faults_->OpenLoadGate();
}

TEST_F(PinTicketTest, AShortPrefixDoesNotWaitForALongOne) {
  OpenWithDisk(256, 256);
  SealChain(ns_, PromptTokens(1, 90));
  SealChain(ns_, PromptTokens(2, 2));
  ASSERT_TRUE(store_->Demote().ok());
  faults_->CloseLoadGate();
  PinTicket large = Pin(1, 90);
  faults_->AwaitLoads(2);
  absl::Notification closed;
  PinTicket small = store_->Pin(ns_, PromptTokens(2, 2), 100, [&] {
    faults_->CloseLoadGate();
    closed.Notify();
  });
  faults_->OpenLoadGate();
  closed.WaitForNotification();
  ASSERT_TRUE(small.Wait(Soon()));
  EXPECT_FALSE(large.done());
  EXPECT_LT(faults_->loads(), 50);
  EXPECT_EQ(small.Take().disk_blocks, 2);
  faults_->OpenLoadGate();
  ASSERT_TRUE(large.Wait(Soon()));
  EXPECT_EQ(large.Take().disk_blocks, 90);
}

TEST_F(PinTicketTest, APrefixOfLargeBlocksDoesNotWaitForALongOneOfSmallBlocks) {
  OpenWithDisk(256, 256);
  const NamespaceHandle wide = OpenNamespace(TestIdentity("wide", 6));
  SealChain(ns_, PromptTokens(1, 90));
  SealChain(wide, PromptTokens(1, 2));
  ASSERT_TRUE(store_->Demote().ok());
  faults_->CloseLoadGate();
  PinTicket narrow = Pin(1, 90);
  faults_->AwaitLoads(2);
  absl::Notification closed;
  PinTicket large = store_->Pin(wide, PromptTokens(1, 2), 100, [&] {
    faults_->CloseLoadGate();
    closed.Notify();
  });
  faults_->OpenLoadGate();
  closed.WaitForNotification();
  EXPECT_FALSE(narrow.done());
  EXPECT_LT(faults_->loads(), 50);
  EXPECT_EQ(large.Take().disk_blocks, 2);
  faults_->OpenLoadGate();
  ASSERT_TRUE(narrow.Wait(Soon()));
  EXPECT_EQ(narrow.Take().disk_blocks, 90);
}

TEST_F(PinTicketTest, BlocksThatATicketHasNotComeToAreNotInRam) {
  PutOnDisk(1, 12);
  faults_->CloseLoadGate();
  PinTicket ticket = Pin(1, 12);
  EXPECT_EQ(store_->stats().ram_used_bytes, 2 * kSlotBytes) << "the loads under way";
  EXPECT_EQ(store_->stats().pinned_blocks, 3) << "these and the last block";
  faults_->OpenLoadGate();
  ASSERT_TRUE(ticket.Wait(Soon()));
  EXPECT_EQ(ticket.Take().disk_blocks, 12);
}

TEST_F(PinTicketTest, ATicketThatWaitsForRoomDoesNotHoldUpOneOfAnotherSize) {
  OpenWithDisk(8, 64);
  const NamespaceHandle wide = OpenNamespace(TestIdentity("wide", 6));  // three slots' worth
  SealChain(wide, PromptTokens(1, 1));
  SealChain(ns_, PromptTokens(1, 1));
  ASSERT_TRUE(store_->Demote().ok());
  // One slot is free and one holds an idle block: hope for one size, room for the other.
  const std::vector<BlockRef> pins = SealChain(ns_, PromptTokens(2, 6));
  SealChain(ns_, PromptTokens(3, 1));
  PinTicket starving = store_->Pin(wide, PromptTokens(1, 1), 100, nullptr);
  PinTicket other = Pin(1, 1);
  ASSERT_TRUE(other.Wait(Soon()));
  EXPECT_FALSE(starving.done());
  EXPECT_EQ(other.Take().disk_blocks, 1);
  ASSERT_TRUE(starving.Wait(Soon()));
  EXPECT_EQ(starving.Take().blocks.size(), 0u);
  EXPECT_EQ(store_->stats().missed_no_room_tokens, kBlockTokens);
}

TEST_F(PinTicketTest, APrefixOfMoreBlocksThanTheQueueHoldsTicketsLoadsWhole) {
  max_loading_tickets_ = 1;
  PutOnDisk(1, 40, /*ram_slots=*/64);
  EXPECT_EQ(PinNow(ns_, PromptTokens(1, 40)).disk_blocks, 40);
}

TEST_F(PinTicketTest, TheCallbackRunsOnceForEveryKindOfTicket) {
  PutOnDisk(1, 3);
  std::atomic<int> calls = 0;
  const auto pin = [&](uint32_t prompt) {
    absl::Notification called;
    PinTicket ticket = store_->Pin(ns_, PromptTokens(prompt, 3), 100, [&] {
      ++calls;
      called.Notify();
    });
    called.WaitForNotification();
    EXPECT_TRUE(ticket.done());
    return ticket.Take();
  };
  EXPECT_EQ(pin(1).disk_blocks, 3);     // loaded
  EXPECT_EQ(pin(1).ram_blocks, 3);      // resident
  EXPECT_EQ(pin(2).blocks.size(), 0u);  // nothing cached
  EXPECT_EQ(calls, 3);
}

}  // namespace
}  // namespace reprise::cachestore
