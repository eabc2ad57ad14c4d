// KV bytes through all tiers: random blocks that a step wrote on the device go to RAM and disk,
// come back and are the same, byte for byte; one that was changed on the way is a miss or is seen.
// The disk is a real one, each tier is smaller than what is kept, and slots that blocks have left
// are filled with poison, so that nothing can be right because it was there before. On LazyDevice,
// and on the card where there is one.
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "cachestore/base/check.h"
#include "cachestore/memory/host_arena.h"
#include "cachestore/pool/slot_pool.h"
#include "cachestore/store/tiered_store.h"
#include "tests/fakes/disk_store_fixture.h"
#include "tests/fakes/test_seed.h"
#include "tests/gpu/device_track.h"

namespace reprise::cachestore {
namespace {

constexpr int32_t kTokens = 16;  // of a block
constexpr size_t kChains = 6;
constexpr size_t kChain = 6;  // blocks of a chain
constexpr size_t kBlocks = kChains * kChain;
constexpr int64_t kGpuSlots = 10;
constexpr int64_t kRamSlots = 18;
constexpr int kPoison = 0xEE;

// Blocks of one page, of an odd number of bytes, and of a large model.
struct Shape {
  const char* name;
  KvLayout layout;
};
const Shape kShapes[] = {
    {"Page", {2, 1, 32, kTokens, DType::kBF16}},
    {"Odd", {3, 5, 71, kTokens, DType::kInt8, KvScales::kPerRow}},
    {"TwoMiB", {32, 8, 128, kTokens, DType::kBF16}},
};

NamespaceIdentity IdentityOf(const KvLayout& layout) {
  NamespaceIdentity id;
  id.model_digest = "model";
  id.tokenizer_digest = "tokenizer";
  id.adapter_digest = "none";
  id.layout = layout;
  id.kv_scales = std::string(KvScalesName(layout.scales));
  id.position_scheme = "learned";
  return id;
}

// A store over `device` and a fresh folder, and the blocks that it should give back.
class TieredBlocks {
 public:
  TieredBlocks(std::unique_ptr<Device> device, const KvLayout& layout, uint32_t seed)
      : device_(std::move(device)),
        block_bytes_(layout.BytesPerBlock()),
        slot_bytes_(SlotPool::SlotBytes(block_bytes_)),
        host_(*HostArena::Reserve(static_cast<int64_t>(kNumPlaces * slot_bytes_))),
        pinned_(*device_->Register(host_->bytes())) {
    std::mt19937_64 random(seed);
    for (size_t block = 0; block < kBlocks; ++block) {
      for (size_t at = 0; at < slot_bytes_; at += sizeof(uint64_t)) {
        const uint64_t word = random();
        std::memcpy(host(block) + at, &word, sizeof(word));
      }
    }
    std::memset(host(kPoisoned), kPoison, slot_bytes_);
    for (std::vector<TokenId>& tokens : tokens_) {
      for (size_t i = 0; i < kChain * kTokens; ++i) tokens.push_back(random() % 100'000);
    }
    std::string folder = (std::filesystem::temp_directory_path() / "reprise-tiers-XXXXXX").string();
    CHECK(mkdtemp(folder.data()) != nullptr);
    folder_ = folder;
    StoreOptions options;
    options.gpu.capacity_bytes = kGpuSlots * static_cast<int64_t>(slot_bytes_);
    options.ram.capacity_bytes = kRamSlots * static_cast<int64_t>(slot_bytes_);
    options.disk.directory = folder;
    options.disk.capacity_bytes =
        (int64_t{64} << 20) + 2 * kBlocks * static_cast<int64_t>(slot_bytes_);
    auto store = TieredStore::Open(options, device_.get());
    CHECK(store.ok());
    store_ = *std::move(store);
    ns_ = *store_->OpenNamespace(IdentityOf(layout));
  }
  ~TieredBlocks() {
    EXPECT_TRUE(device_->Wait(device_->Mark(Lane::kCompute)).ok());
    EXPECT_EQ(store_->CheckIntegrity(), absl::OkStatus());
    EXPECT_EQ(store_->stats().lost_gpu_blocks, 0);
    store_.reset();
    std::filesystem::remove_all(folder_);
  }

  StoreStats stats() const { return store_->stats(); }

  // Steps write the chain, each block sealed before its step has ended.
  void Write(size_t chain) {
    std::vector<BlockRef> refs;
    BlockKey parent = ns_.root;
    for (size_t i = 0; i < kChain; ++i) {
      WritableBlock block = AllocateOnGpu();
      ASSERT_TRUE(block);
      Step(block.bytes().data(), host(chain * kChain + i));
      refs.push_back(store_->Seal(ns_, std::move(block), parent,
                                  absl::MakeSpan(tokens_[chain]).subspan(i * kTokens, kTokens)));
      parent = refs.back().key();
    }
  }

  // All chains, on disk alone; every slot of the other tiers is poison.
  void WriteAllToDisk() {
    for (size_t chain = 0; chain < kChains; ++chain) Write(chain);
    const auto demoted = store_->Demote();
    ASSERT_TRUE(demoted.ok()) << demoted.status();
    std::vector<WritableBlock> slots;
    for (const Tier tier : {Tier::kGpu, Tier::kRam}) {
      for (auto slot = store_->Allocate(ns_, tier); slot.ok(); slot = store_->Allocate(ns_, tier)) {
        if (tier == Tier::kGpu) {
          Step(slot->bytes().data(), host(kPoisoned));
        } else {
          std::memset(slot->bytes().data(), kPoison, slot->bytes().size());
        }
        slots.push_back(*std::move(slot));
      }
    }
    EXPECT_EQ(slots.size(), static_cast<size_t>(kGpuSlots + kRamSlots));
  }

  // The chain's blocks that can be had on the GPU.
  PinnedPrefix Pin(size_t chain) {
    PinTicket ticket =
        store_->Pin(ns_, tokens_[chain], BlockRange{.first = 0, .count = kChain}, nullptr,
                    absl::InfiniteFuture(),
                    chain % 2 == 0 ? LoadOrder::kByBlock : LoadOrder::kByLayer, Tier::kGpu);
    EXPECT_TRUE(ticket.Wait(absl::Now() + absl::Seconds(60)));
    return ticket.Take();
  }
  // How many of them are not, as a step sees them, what was written.
  int CountWrong(const PinnedPrefix& prefix, size_t chain) {
    std::memset(host(kSeen), kPoison, kChain * slot_bytes_);
    for (size_t i = 0; i < prefix.blocks.size(); ++i) {
      Step(host(kSeen + i), prefix.blocks[i].bytes().data());
    }
    EXPECT_TRUE(device_->Wait(device_->Mark(Lane::kCompute)).ok());
    int wrong = 0;
    for (size_t i = 0; i < prefix.blocks.size(); ++i) {
      const std::byte* const written = host(chain * kChain + i);
      wrong += std::memcmp(host(kSeen + i), written, block_bytes_) == 0 ? 0 : 1;
    }
    return wrong;
  }
  // Pins the chain, expects all of it and every byte.
  PinnedPrefix Expect(size_t chain) {
    PinnedPrefix prefix = Pin(chain);
    EXPECT_EQ(prefix.blocks.size(), kChain) << "chain " << chain;
    EXPECT_EQ(CountWrong(prefix, chain), 0) << "chain " << chain;
    return prefix;
  }

  // Changes the last byte of what was written as `block`, and is pinned, on the GPU.
  void ChangeOnGpu(const BlockRef& ref, size_t block) {
    const size_t last = block_bytes_ - 1;
    *host(kChanged) = ~host(block)[last];
    Step(const_cast<std::byte*>(ref.bytes().data()) + last, host(kChanged), 1);
  }
  // Changes a byte of what was written as `block` wherever it lies in the files; returns how often.
  int ChangeOnDisk(size_t block) {
    int found = 0;
    for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
      if (entry.path().extension() != ".dat") continue;
      RawFile file(entry.path());
      for (int64_t at = 0; at < file.size(); at += HostArena::kAlignment) {
        if (std::memcmp(file.Read(at, 64).data(), host(block), 64) != 0) continue;
        const std::string stored = file.Read(at, block_bytes_);
        EXPECT_EQ(std::memcmp(stored.data(), host(block), block_bytes_), 0);
        file.FlipBit(at + static_cast<int64_t>(block_bytes_) - 1, 3);
        ++found;
      }
    }
    return found;
  }

 private:
  // Places in the arena of the host: what was written as each block, what was seen, poison, and a
  // changed byte.
  static constexpr size_t kSeen = kBlocks;
  static constexpr size_t kPoisoned = kSeen + kChain;
  static constexpr size_t kChanged = kPoisoned + 1;
  static constexpr size_t kNumPlaces = kChanged + 1;
  std::byte* host(size_t place) const { return host_->bytes().data() + place * slot_bytes_; }

  // A step that copies a block.
  void Step(std::byte* to, const std::byte* from) { Step(to, from, block_bytes_); }
  void Step(std::byte* to, const std::byte* from, size_t bytes) {
    const absl::Status given = device_->Copy(Lane::kCompute, {{to, from, bytes}});
    EXPECT_TRUE(given.ok()) << given;
  }

  // Waits for room; empty after a minute.
  WritableBlock AllocateOnGpu() {
    const absl::Time deadline = absl::Now() + absl::Minutes(1);
    for (;;) {
      auto block = store_->Allocate(ns_, Tier::kGpu);
      if (block.ok()) return *std::move(block);
      EXPECT_EQ(block.status().code(), absl::StatusCode::kResourceExhausted) << block.status();
      if (absl::Now() >= deadline) return {};
      store_->AwaitRoom(ns_, deadline, Tier::kGpu);
    }
  }

  const std::unique_ptr<Device> device_;
  const size_t block_bytes_;
  const size_t slot_bytes_;
  const std::unique_ptr<HostArena> host_;
  const DeviceBytes pinned_;
  std::vector<TokenId> tokens_[kChains];
  std::filesystem::path folder_;
  std::unique_ptr<TieredStore> store_;
  NamespaceHandle ns_;
};

using Case = std::tuple<Shape, DeviceTrack>;

class TiersTest : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    const auto& [shape, track] = GetParam();
    auto device = track.Open(size_t{128} << 20);
    if (device.status().code() == absl::StatusCode::kNotFound) GTEST_SKIP() << device.status();
    ASSERT_TRUE(device.ok()) << device.status();
    blocks_ = std::make_unique<TieredBlocks>(*std::move(device), shape.layout, TestSeed());
    blocks_->WriteAllToDisk();
  }

  std::unique_ptr<TieredBlocks> blocks_;
};

constexpr auto kAll = static_cast<int64_t>(kBlocks);

TEST_P(TiersTest, BytesThatWentDownToDiskComeBackTheSame) {
  StoreStats stats = blocks_->stats();
  EXPECT_EQ(stats.gpu_blocks + stats.ram_blocks, 0);
  EXPECT_EQ(stats.disk_blocks, kAll);
  EXPECT_EQ(stats.copied_from_gpu_blocks, kAll);
  EXPECT_EQ(stats.demoted_from_gpu_blocks, kAll);
  EXPECT_EQ(stats.demoted_blocks, kAll);
  for (size_t chain = 0; chain < kChains; ++chain) {
    EXPECT_EQ(blocks_->Expect(chain).disk_blocks, static_cast<int64_t>(kChain));
  }
  stats = blocks_->stats();
  EXPECT_EQ(stats.promoted_blocks, kAll);
  EXPECT_EQ(stats.promoted_to_gpu_blocks, kAll);
  EXPECT_EQ(stats.hit_disk_tokens, kAll * kTokens);
  EXPECT_EQ(stats.dropped_blocks, 0);
}

TEST_P(TiersTest, BytesAreTheSameFromWhateverTier) {
  for (size_t chain = 0; chain < kChains; ++chain) blocks_->Expect(chain);
  const StoreStats before = blocks_->stats();
  // The last ones are on the GPU, those before them in RAM, the first on disk alone.
  for (size_t chain = kChains; chain-- > 0;) blocks_->Expect(chain);
  const StoreStats after = blocks_->stats();
  EXPECT_GT(after.hit_gpu_tokens, before.hit_gpu_tokens);
  EXPECT_GT(after.hit_ram_tokens, before.hit_ram_tokens);
  EXPECT_GT(after.hit_disk_tokens, before.hit_disk_tokens);
  EXPECT_EQ(after.missed_tokens(), 0);
  EXPECT_EQ(after.dropped_blocks, 0);
}

TEST_P(TiersTest, AByteChangedOnDiskIsAMiss) {
  constexpr size_t kWhich = 3;
  constexpr size_t kGood = 2;
  EXPECT_EQ(blocks_->ChangeOnDisk(kWhich * kChain + kGood), 1);
  {
    const PinnedPrefix prefix = blocks_->Pin(kWhich);
    EXPECT_EQ(prefix.blocks.size(), kGood);
    EXPECT_EQ(blocks_->CountWrong(prefix, kWhich), 0);
  }
  EXPECT_EQ(blocks_->stats().missed_corrupt_tokens, kTokens);
  EXPECT_EQ(blocks_->stats().dropped_blocks, static_cast<int64_t>(kChain - kGood));
  blocks_->Expect(0);
}

TEST_P(TiersTest, AByteChangedOnTheGpuIsSeen) {
  const PinnedPrefix prefix = blocks_->Expect(1);
  blocks_->ChangeOnGpu(prefix.blocks[4], kChain + 4);
  EXPECT_EQ(blocks_->CountWrong(prefix, 1), 1);
}

INSTANTIATE_TEST_SUITE_P(All, TiersTest,
                         testing::Combine(testing::ValuesIn(kShapes),
                                          testing::Values(DeviceTrack{0}, DeviceTrack{1},
                                                          DeviceTrack{2}, DeviceTrack{})),
                         [](const auto& info) {
                           return std::get<0>(info.param).name + std::get<1>(info.param).Name();
                         });

}  // namespace
}  // namespace reprise::cachestore
