// Random operations against small reference models.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <vector>

#include "tests/fakes/store_fixture.h"
#include "tests/fakes/test_seed.h"

namespace reprise::cachestore {
namespace {

// Prompts that branch: every block has one of a few contents, so prefixes are shared at random.
std::vector<TokenId> RandomPrompt(std::mt19937& random, int64_t max_blocks) {
  std::vector<TokenId> tokens;
  const int64_t num_blocks = 1 + random() % max_blocks;
  for (int64_t i = 0; i < num_blocks; ++i) {
    tokens.insert(tokens.end(), kBlockTokens, static_cast<TokenId>(random() % 2));
  }
  return tokens;
}

// A RAM-only store, predicted exactly: which blocks exist, and in which order they go.
class RamModel {
 public:
  explicit RamModel(size_t capacity) : capacity_(capacity) {}

  size_t Match(const std::vector<BlockKey>& keys) const {
    size_t matched = 0;
    while (matched < keys.size() && blocks_.contains(keys[matched])) ++matched;
    return matched;
  }
  void Pin(const BlockKey& key) {
    if (blocks_[key].pins++ == 0) std::erase(order_, key);
  }
  void Unpin(const BlockKey& key) {
    Block& block = blocks_[key];
    if (--block.pins > 0) return;
    const auto parent = blocks_.find(block.parent);
    const bool parent_is_idle = parent != blocks_.end() && parent->second.pins == 0;
    block.place = parent_is_idle ? Place{parent->second.place.use, parent->second.place.depth + 1}
                                 : Place{++uses_, 0};
    order_.insert(std::find_if(order_.begin(), order_.end(),
                               [&](const BlockKey& other) {
                                 return block.place.GoesBefore(blocks_.at(other).place);
                               }),
                  key);
  }
  // What Allocate does: false when nothing can go.
  bool MakeRoom() {
    if (blocks_.size() < capacity_) return true;
    const auto victim = std::find_if(order_.begin(), order_.end(), [&](const BlockKey& key) {
      return std::none_of(blocks_.begin(), blocks_.end(),
                          [&](const auto& other) { return other.second.parent == key; });
    });
    if (victim == order_.end()) return false;
    blocks_.erase(*victim);
    order_.erase(victim);
    ++dropped;
    return true;
  }
  void Seal(const BlockKey& parent, const BlockKey& key) {
    blocks_[key].parent = parent;
    Pin(key);
  }
  size_t size() const { return blocks_.size(); }

  int64_t dropped = 0;

 private:
  // Blocks used last go last; of those used together the deepest goes first.
  struct Place {
    int64_t use = 0;
    int64_t depth = 0;
    bool GoesBefore(const Place& other) const {
      return use != other.use ? use < other.use : depth > other.depth;
    }
  };
  struct Block {
    BlockKey parent;
    int pins = 0;
    Place place;
  };
  const size_t capacity_;
  int64_t uses_ = 0;
  std::map<BlockKey, Block> blocks_;
  std::vector<BlockKey> order_;  // unpinned, oldest first
};

using StoreModelTest = StoreFixture;

TEST_F(StoreModelTest, WithoutDiskTheStoreHoldsExactlyWhatTheModelHolds) {
  std::mt19937 random(TestSeed());
  constexpr int64_t kSlots = 24;
  OpenRamOnly(kSlots);
  RamModel model(kSlots);
  std::vector<std::vector<BlockRef>> held;
  const auto release = [&](size_t i) {
    std::vector<BlockRef> refs = std::move(held[i]);
    held.erase(held.begin() + i);
    // From either end, or shuffled: the order of unpinning is the holder's business.
    if (random() % 3 == 0) std::reverse(refs.begin(), refs.end());
    if (random() % 3 == 0) std::shuffle(refs.begin(), refs.end(), random);
    for (BlockRef& ref : refs) {
      model.Unpin(ref.key());
      ref = BlockRef();
    }
  };
  int64_t hits = 0;
  for (int step = 0; step < 3000; ++step) {
    const std::vector<TokenId> prompt = RandomPrompt(random, 7);
    const std::vector<BlockKey> keys = ChainKeys(ns_.root, prompt, kBlockTokens);
    ASSERT_EQ(store_->Match(ns_, prompt, 100).ram_blocks, static_cast<int64_t>(model.Match(keys)));
    PinnedPrefix prefix = PinNow(ns_, prompt);
    ASSERT_EQ(prefix.blocks.size(), model.Match(keys)) << "step " << step;
    hits += prefix.ram_blocks;
    for (const BlockRef& ref : prefix.blocks) model.Pin(ref.key());
    std::vector<BlockRef> refs = std::move(prefix.blocks);
    while (refs.size() < keys.size()) {
      const size_t i = refs.size();
      absl::StatusOr<WritableBlock> block = store_->Allocate(ns_);
      ASSERT_EQ(block.ok(), model.MakeRoom()) << "step " << step;
      if (!block.ok()) break;
      const BlockKey parent = i == 0 ? ns_.root : keys[i - 1];
      FillPayload(keys[i], block->bytes());
      refs.push_back(store_->Seal(ns_, *std::move(block), parent,
                                  absl::MakeSpan(prompt).subspan(i * kBlockTokens, kBlockTokens)));
      model.Seal(parent, keys[i]);
    }
    held.push_back(std::move(refs));
    while (held.size() > random() % 4) release(random() % held.size());
    ASSERT_EQ(store_->stats().ram_blocks, static_cast<int64_t>(model.size()));
    ASSERT_EQ(store_->stats().dropped_blocks, model.dropped);
    if (step % 100 == 0) {
      ASSERT_EQ(store_->CheckIntegrity(), absl::OkStatus());
    }
  }
  EXPECT_GT(hits, 1000);
  EXPECT_GT(model.dropped, 1000);
  ExpectLookupsAreConserved();
}

TEST_F(StoreModelTest, WithDiskFaultsAndRestartsEveryBlockReadIsRight) {
  eviction_ = StoreOptions().eviction;
  std::mt19937 random(TestSeed());
  constexpr int64_t kRamSlots = 24;
  constexpr int64_t kDiskSlots = 40;
  OpenWithDisk(kRamSlots, kDiskSlots);
  std::set<BlockKey> sealed;
  std::vector<std::vector<BlockRef>> held;
  int64_t disk_hits = 0;
  int64_t corrupt = 0;
  for (int step = 0; step < 1500; ++step) {
    const std::vector<TokenId> prompt = RandomPrompt(random, 7);
    const std::vector<BlockKey> keys = ChainKeys(ns_.root, prompt, kBlockTokens);
    const BlockKey victim = keys[random() % keys.size()];
    const bool fault = random() % 10 == 0;
    if (fault) faults_->FailLoadsOf(victim, absl::DataLossError("bad bytes"));
    if (random() % 20 == 0) faults_->FailWrites(absl::InternalError("write failed"));
    PinnedPrefix prefix = PinNow(ns_, prompt);
    for (const BlockRef& ref : prefix.blocks) ASSERT_TRUE(sealed.contains(ref.key()));
    std::vector<BlockRef> refs = std::move(prefix.blocks);
    while (refs.size() < keys.size()) {
      const size_t i = refs.size();
      BlockRef ref = SealOne(ns_, i == 0 ? ns_.root : keys[i - 1],
                             absl::MakeSpan(prompt).subspan(i * kBlockTokens, kBlockTokens));
      ASSERT_TRUE(ref);
      sealed.insert(ref.key());
      refs.push_back(std::move(ref));
    }
    for (const BlockRef& ref : refs) ASSERT_TRUE(PayloadIsRight(ref.key(), ref.bytes()));
    held.push_back(std::move(refs));
    while (held.size() > random() % 3) held.erase(held.begin() + random() % held.size());
    faults_->FailLoadsOf(victim, absl::OkStatus());
    faults_->FailWrites(absl::OkStatus());
    if (random() % 8 == 0) {
      ASSERT_TRUE(store_->Demote().ok());
    }
    ASSERT_EQ(store_->CheckIntegrity(), absl::OkStatus()) << "step " << step;
    const StoreStats stats = store_->stats();
    ASSERT_LE(stats.ram_used_bytes, kRamSlots * kSlotBytes);
    ASSERT_LE(stats.disk_used_bytes, kDiskSlots * kSlotBytes);
    if (random() % 100 == 0) {
      held.clear();
      disk_hits += stats.hit_disk_tokens;
      corrupt += stats.missed_corrupt_tokens;
      ExpectLookupsAreConserved();
      OpenWithDisk(kRamSlots, kDiskSlots);
    }
  }
  EXPECT_GT(disk_hits + store_->stats().hit_disk_tokens, 100 * kBlockTokens);
  EXPECT_GT(corrupt + store_->stats().missed_corrupt_tokens, 0);
  ExpectLookupsAreConserved();
}

}  // namespace
}  // namespace reprise::cachestore
