// Bytes on disk that are not what was stored, seen from the door of the store: counted misses,
// never data, and nothing that keeps the store from storing the same blocks again.
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "tests/fakes/disk_store_fixture.h"

namespace reprise::cachestore {
namespace {

constexpr int kNumPrompts = 1000;
constexpr int64_t kDiskSlotBytes = 4096 + 4096;  // header and payload
constexpr int64_t kPayloadBytes = 2048;          // of a slot's second half

class BitRotTest : public DiskStoreFixture {
 protected:
  // Prompts of one block each, so that losing one loses no other; all of them on disk only.
  void StoreSingleBlocks() {
    OpenOnDisk(64, int64_t{32} << 20);
    for (uint32_t prompt = 0; prompt < kNumPrompts; ++prompt) {
      SealChain(ns_, PromptTokens(prompt, 1));
    }
    ASSERT_TRUE(store_->Demote().ok());
    ASSERT_EQ(store_->stats().disk_blocks, kNumPrompts);
    ASSERT_EQ(store_->stats().ram_blocks, 0);
  }

  // Calls `change(file, offset)` for every slot that holds a block.
  template <typename Change>
  int ForEachUsedSlot(Change change) {
    int used = 0;
    for (const std::filesystem::path& path : PayloadFiles()) {
      RawFile file(path);
      for (int64_t at = 0; at + kDiskSlotBytes <= file.size(); at += kDiskSlotBytes) {
        if (file.Read(at, 8) != "RPRSLOT1") continue;
        change(file, at);
        ++used;
      }
    }
    return used;
  }

  // Looks up every prompt; returns the blocks served. PinNow compares every byte.
  int64_t PinAll() {
    int64_t served = 0;
    for (uint32_t prompt = 0; prompt < kNumPrompts; ++prompt) {
      served += static_cast<int64_t>(PinNow(ns_, PromptTokens(prompt, 1)).blocks.size());
    }
    return served;
  }

  void StoreAgainAndServeAll() {
    for (uint32_t prompt = 0; prompt < kNumPrompts; ++prompt) {
      SealChain(ns_, PromptTokens(prompt, 1));
    }
    ASSERT_TRUE(store_->Demote().ok());
    EXPECT_EQ(PinAll(), kNumPrompts);
  }
};

TEST_F(BitRotTest, OneFlippedBitInAThousandBlocksIsAThousandMisses) {
  StoreSingleBlocks();
  ASSERT_EQ(PinAll(), kNumPrompts) << "control: without damage everything is served";
  ASSERT_TRUE(store_->Demote().ok());
  ASSERT_EQ(store_->stats().ram_blocks, 0);
  std::mt19937_64 random(1);
  const int flipped = ForEachUsedSlot([&](RawFile& file, int64_t at) {
    // Anywhere in the header or the payload.
    int64_t offset = static_cast<int64_t>(random() % (4096 + kPayloadBytes));
    file.FlipBit(at + offset, static_cast<int>(random() % 8));
  });
  ASSERT_EQ(flipped, kNumPrompts);
  const StoreStats before = store_->stats();
  EXPECT_EQ(PinAll(), 0);
  const StoreStats after = store_->stats();
  EXPECT_EQ(after.hit_ram_tokens + after.hit_disk_tokens,
            before.hit_ram_tokens + before.hit_disk_tokens);
  EXPECT_EQ(after.missed_corrupt_tokens - before.missed_corrupt_tokens, kNumPrompts * kBlockTokens);
  ExpectLookupsAreConserved();
  EXPECT_EQ(store_->CheckIntegrity(), absl::OkStatus());
  StoreAgainAndServeAll();
}

TEST_F(BitRotTest, DamageWhileTheStoreWasClosedIsFoundAtTheFirstRead) {
  StoreSingleBlocks();
  store_.reset();
  std::mt19937_64 random(2);
  const int flipped = ForEachUsedSlot([&](RawFile& file, int64_t at) {
    file.FlipBit(at + 4096 + static_cast<int64_t>(random() % kPayloadBytes), 3);
  });
  ASSERT_EQ(flipped, kNumPrompts);
  OpenOnDisk(64, int64_t{32} << 20);
  ASSERT_EQ(store_->stats().recovered_blocks, kNumPrompts);
  EXPECT_EQ(PinAll(), 0);
  EXPECT_EQ(store_->stats().missed_corrupt_tokens, kNumPrompts * kBlockTokens);
  StoreAgainAndServeAll();
}

TEST_F(BitRotTest, PayloadsSwappedBetweenTwoKeysAreTwoMisses) {
  StoreSingleBlocks();
  // Header and all: each slot is sound in itself, and at the wrong place.
  std::vector<std::string> slots;
  ForEachUsedSlot([&](RawFile& file, int64_t at) {
    if (slots.size() < 2) slots.push_back(file.Read(at, kDiskSlotBytes));
  });
  ASSERT_NE(slots[0], slots[1]);
  int next = 1;
  ForEachUsedSlot([&](RawFile& file, int64_t at) {
    if (next >= 0) file.Write(at, slots[static_cast<size_t>(next--)]);
  });
  EXPECT_EQ(PinAll(), kNumPrompts - 2);
  EXPECT_EQ(store_->stats().missed_corrupt_tokens, 2 * kBlockTokens);
  StoreAgainAndServeAll();
}

TEST_F(BitRotTest, ALostBlockTakesOnlyWhatIsBelowIt) {
  OpenOnDisk(64, int64_t{32} << 20);
  constexpr int64_t kBlocks = 12;
  SealChain(ns_, PromptTokens(1, kBlocks));
  ASSERT_TRUE(store_->Demote().ok());
  // Slots of one batch lie in the order of the chain.
  int slot = 0;
  const int used = ForEachUsedSlot([&](RawFile& file, int64_t at) {
    if (slot++ == 5) file.FlipBit(at + 4096 + 77, 0);
  });
  ASSERT_EQ(used, kBlocks);
  EXPECT_EQ(PinNow(ns_, PromptTokens(1, kBlocks)).blocks.size(), 5u);
  EXPECT_EQ(store_->stats().missed_corrupt_tokens, kBlockTokens);
  SealChain(ns_, PromptTokens(1, kBlocks));
  ASSERT_TRUE(store_->Demote().ok());
  EXPECT_EQ(PinNow(ns_, PromptTokens(1, kBlocks)).disk_blocks, kBlocks);
}

}  // namespace
}  // namespace reprise::cachestore
