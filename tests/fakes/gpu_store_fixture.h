// GpuStoreFixture: StoreFixture with a GPU tier on a LazyDevice. What a step does (write a block,
// read one) is work of the compute lane here, which runs late: a copy or a reuse that does not keep
// its order behind it, or before it, shows as wrong bytes.
#pragma once

#include <atomic>
#include <memory>
#include <utility>
#include <vector>

#include "tests/fakes/held_device.h"
#include "tests/fakes/lazy_device.h"
#include "tests/fakes/store_fixture.h"
#include "tests/fakes/unguarded_device.h"

namespace reprise::cachestore {

class GpuStoreFixture : public StoreFixture {
 protected:
  ~GpuStoreFixture() override { Close(); }
  void TearDown() override {
    StoreFixture::TearDown();
    Close();
  }

  void Close() {
    // Where a guard was dropped, the store does not know what is still under way.
    for (const Lane lane : {Lane::kCompute, Lane::kToDevice, Lane::kToHost}) {
      if (held_ != nullptr) held_->LetGo(lane);
      if (device_ != nullptr) device_->Wait(device_->Mark(lane)).IgnoreError();
    }
    store_.reset();
    guarded_.reset();
    held_.reset();
    device_.reset();
  }

  // With `disk_slots` 0 there is no disk tier; else a fake disk that outlives the store. The device
  // is a new one, by `seed_`, without the guard that a test has dropped.
  void OpenWithGpu(int64_t gpu_slots, int64_t ram_slots, int64_t disk_slots) {
    Close();
    device_ = std::make_unique<LazyDevice>(seed_);
    held_ = std::make_unique<HeldDevice>(device_.get());
    guarded_ = std::make_unique<UnguardedDevice>(held_.get(), dropped_, dropped_lane_);
    StoreOptions options = Options(ram_slots);
    options.gpu.capacity_bytes = gpu_slots * kSlotBytes;
    options.gpu_free_low_watermark = gpu_free_low_watermark_;
    options.max_loading_tickets = max_loading_tickets_;
    options.disk.admission = admission_;
    std::unique_ptr<BackingTier> disk;
    if (disk_slots > 0) {
      disk = std::make_unique<FaultyTier>(
          std::make_unique<MemoryBackingTier>(disk_slots * kSlotBytes, contents_), faults_);
    }
    auto store = TieredStore::Open(options, std::move(disk), derive_, guarded_.get());
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
    ns_ = OpenNamespace(TestIdentity());
  }

  void Enqueue(absl::AnyInvocable<void() &&> step) {
    static_cast<LazyDevice::Queue*>(device_->Stream(Lane::kCompute))->Enqueue(std::move(step));
  }
  // Runs all steps.
  void FinishSteps() { device_->Wait(device_->Mark(Lane::kCompute)).IgnoreError(); }

  // One step writes a block, which is sealed before it has run; an empty ref without room.
  BlockRef SealOnGpu(const NamespaceHandle& ns, const BlockKey& parent, const BlockContent& content,
                     absl::Duration patience = absl::Seconds(20)) {
    const absl::Time deadline = absl::Now() + patience;
    for (;;) {
      absl::StatusOr<WritableBlock> block = store_->Allocate(ns, Tier::kGpu);
      if (block.ok()) {
        Enqueue([key = ChildKey(parent, content.words()), bytes = block->bytes()] {
          FillPayload(key, bytes);
        });
        return store_->Seal(ns, *std::move(block), parent, content);
      }
      EXPECT_EQ(block.status().code(), absl::StatusCode::kResourceExhausted) << block.status();
      if (absl::Now() >= deadline) return {};
      store_->AwaitRoom(ns, deadline, Tier::kGpu);
    }
  }
  std::vector<BlockRef> SealChainOnGpu(const NamespaceHandle& ns,
                                       absl::Span<const TokenId> tokens) {
    std::vector<BlockRef> refs;
    BlockKey parent = ns.root;
    for (size_t i = 0; i + kBlockTokens <= tokens.size(); i += kBlockTokens) {
      refs.push_back(SealOnGpu(ns, parent, tokens.subspan(i, kBlockTokens)));
      EXPECT_TRUE(refs.back()) << "block " << i / kBlockTokens;
      parent = refs.back().key();
    }
    return refs;
  }

  // A step reads the blocks; what it sees is counted when it runs.
  void StepReads(const std::vector<BlockRef>& refs) {
    for (const BlockRef& ref : refs) {
      Enqueue([this, key = ref.key(), bytes = ref.bytes()] {
        ++reads_;
        if (!PayloadIsRight(key, bytes)) ++wrong_reads_;
      });
    }
  }

  PinnedPrefix PinIn(Tier tier, const NamespaceHandle& ns, const BlockContent& prompt) {
    PinTicket ticket = store_->Pin(ns, prompt, BlockRange{.first = 0, .count = 1 << 20}, nullptr,
                                   absl::InfiniteFuture(), LoadOrder::kByBlock, tier);
    EXPECT_TRUE(ticket.Wait(absl::Now() + absl::Seconds(60)));
    PinnedPrefix prefix = ticket.Take();
    EXPECT_EQ(prefix.gpu_blocks + prefix.ram_blocks + prefix.disk_blocks,
              static_cast<int64_t>(prefix.blocks.size()));
    return prefix;
  }
  // Pins on the GPU and has a step read all of it.
  PinnedPrefix PinAndRead(const NamespaceHandle& ns, const BlockContent& prompt) {
    PinnedPrefix prefix = PinIn(Tier::kGpu, ns, prompt);
    StepReads(prefix.blocks);
    return prefix;
  }
  int64_t WrongInRam(const PinnedPrefix& prefix) {
    return std::count_if(prefix.blocks.begin(), prefix.blocks.end(), [](const BlockRef& ref) {
      return !PayloadIsRight(ref.key(), ref.bytes());
    });
  }

  uint64_t seed_ = 0;
  Guard dropped_ = Guard::kNone;
  Lane dropped_lane_ = Lane::kCompute;
  double gpu_free_low_watermark_ = StoreOptions().gpu_free_low_watermark;
  std::unique_ptr<LazyDevice> device_;
  std::unique_ptr<HeldDevice> held_;  // between the store and device_
  std::unique_ptr<UnguardedDevice> guarded_;
  std::atomic<int64_t> reads_ = 0;
  std::atomic<int64_t> wrong_reads_ = 0;
};

}  // namespace reprise::cachestore
