// The races between steps, copies and the host that other engines have shipped, each with the guard
// that prevents it, and with that guard removed: then the same run must show wrong bytes. On
// LazyDevice, which is as late as it may be (seed 0) or runs in any legal order (other seeds), and
// on the card where there is one, whose lanes are held up by a kernel that takes time.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "cachestore/base/check.h"
#include "cachestore/memory/host_arena.h"
#include "cachestore/memory/staging_ring.h"
#include "cachestore/pool/slot_pool.h"
#include "tests/fakes/unguarded_device.h"
#include "tests/gpu/device_track.h"
#include "tests/gpu/hold_lane.h"

namespace reprise::cachestore {
namespace {

constexpr size_t kBlockBytes = 64 << 10;
constexpr size_t kMemoryBytes = 256 * kBlockBytes;
constexpr int64_t kStepUs = 2'000;
constexpr int64_t kLongUs = 20'000;

// A device, memory of its own and pinned memory of the host, and the way to make its lanes late.
class Race {
 public:
  // kNotFound, and the test is skipped: there is no card. Other errors are the card's.
  static absl::StatusOr<std::unique_ptr<Race>> Open(const DeviceTrack& track,
                                                    Guard dropped = Guard::kNone,
                                                    Lane lane = Lane::kCompute) {
    auto device = track.Open();
    if (!device.ok()) return device.status();
    return std::make_unique<Race>(*std::move(device), track.is_card(), dropped, lane);
  }

  Race(std::unique_ptr<Device> device, bool is_card, Guard dropped, Lane lane)
      : host_(*HostArena::Reserve(kMemoryBytes)),
        real_(std::move(device)),
        is_card_(is_card),
        guarded_(real_.get(), dropped, lane),
        pinned_(*real_->Register(host_->bytes())),
        own_(*real_->Reserve(kMemoryBytes)) {}
  ~Race() { FinishAll(); }

  // The device under test, perhaps without a guard.
  Device& device() { return guarded_; }
  absl::Span<std::byte> own() const { return own_.bytes(); }
  std::byte* own(size_t block) const { return own_.bytes().data() + block * kBlockBytes; }
  std::byte* host(size_t block) const { return host_->bytes().data() + block * kBlockBytes; }

  void Copy(Lane lane, std::byte* to, const std::byte* from, size_t bytes = kBlockBytes) {
    const absl::Status status = guarded_.Copy(lane, {{to, from, bytes}});
    EXPECT_TRUE(status.ok()) << status;
  }
  // What `lane` is given from now on is late. LazyDevice is so without it.
  void Hold(Lane lane, int64_t microseconds) {
    if (is_card_) CHECK(HoldStream(real_->Stream(lane), microseconds));
  }
  // All guards in place.
  void FinishAll() {
    for (const Lane lane : {Lane::kCompute, Lane::kToDevice, Lane::kToHost}) {
      const absl::Status status = real_->Wait(real_->Mark(lane));
      EXPECT_TRUE(status.ok()) << status;
    }
  }
  // Fills a block of the host, and of the device through it.
  void FillHost(size_t block, int value) { std::memset(host(block), value, kBlockBytes); }
  void FillOwn(size_t block, int value) {
    FillHost(kScratch, value);
    Copy(Lane::kToDevice, own(block), host(kScratch));
    FinishAll();
  }
  bool HostIs(size_t block, int value) const {
    return std::all_of(host(block), host(block) + kBlockBytes,
                       [&](std::byte b) { return b == static_cast<std::byte>(value); });
  }

 private:
  static constexpr size_t kScratch = kMemoryBytes / kBlockBytes - 1;

  const std::unique_ptr<HostArena> host_;
  const std::unique_ptr<Device> real_;
  const bool is_card_;
  UnguardedDevice guarded_;
  const DeviceBytes pinned_;
  const DeviceBytes own_;
};

// C1: a block is copied to the host while the step still writes it. Returns the blocks that came
// out wrong.
int WriteThenStore(Race& race) {
  constexpr size_t kBlocks = 8;
  Device& device = race.device();
  for (size_t b = 0; b < kBlocks; ++b) {
    race.FillOwn(b, 0x11);                           // before the step
    race.FillOwn(kBlocks + b, static_cast<int>(b));  // what the step writes
  }
  race.Hold(Lane::kCompute, kStepUs);
  for (size_t b = 0; b < kBlocks; ++b) {
    race.Copy(Lane::kCompute, race.own(b), race.own(kBlocks + b));
    device.Await(Lane::kToHost, device.Mark(Lane::kCompute));
    race.Copy(Lane::kToHost, race.host(b), race.own(b));
    EXPECT_TRUE(device.Wait(device.Mark(Lane::kToHost)).ok());
  }
  int wrong = 0;
  for (size_t b = 0; b < kBlocks; ++b) wrong += race.HostIs(b, static_cast<int>(b)) ? 0 : 1;
  return wrong;
}

// C2: a step reads a block that is still on its way to the device.
int LoadThenRead(Race& race) {
  constexpr size_t kBlocks = 8;
  Device& device = race.device();
  for (size_t b = 0; b < kBlocks; ++b) {
    race.FillOwn(b, 0xff);  // NaN
    race.FillHost(b, static_cast<int>(b));
  }
  race.Hold(Lane::kToDevice, kLongUs);
  for (size_t b = 0; b < kBlocks; ++b) {
    race.Copy(Lane::kToDevice, race.own(b), race.host(b));
    device.Await(Lane::kCompute, device.Mark(Lane::kToDevice));
    race.Copy(Lane::kCompute, race.own(kBlocks + b), race.own(b));
    race.Copy(Lane::kCompute, race.host(kBlocks + b), race.own(kBlocks + b));
  }
  EXPECT_TRUE(device.Wait(device.Mark(Lane::kCompute)).ok());
  int wrong = 0;
  for (size_t b = 0; b < kBlocks; ++b) {
    wrong += race.HostIs(kBlocks + b, static_cast<int>(b)) ? 0 : 1;
  }
  return wrong;
}

// C3: a block's place is given to another one while a step still reads it. A pool of three slots,
// blocks that end at random; each carries its owner, and every read of it is kept.
class SlotRace {
 public:
  explicit SlotRace(Race* race) : race_(race), pool_(race->own().first(3 * kBlockBytes)) {}

  // Returns the reads that saw a block of another owner.
  int Run() {
    for (int owner = 1; owner <= 40; ++owner) {
      if (live_.size() == 3 || (!live_.empty() && random_() % 3 == 0)) {
        FreeOne();
      }
      Load(owner);
      for (uint64_t reads = random_() % 3 + 1; reads > 0; --reads) {
        Read(live_[random_() % live_.size()]);
      }
      // As the thread does that completes loads: so they do not keep behind the steps.
      EXPECT_TRUE(race_->device().Wait(race_->device().Mark(Lane::kToDevice)).ok());
    }
    race_->FinishAll();
    int wrong = 0;
    for (size_t i = 0; i < readers_.size(); ++i) {
      for (size_t byte = 0; byte < kStampBytes; ++byte) {
        if (*(Seen(i) + byte) == static_cast<std::byte>(readers_[i])) continue;
        ++wrong;
        break;
      }
    }
    EXPECT_GE(readers_.size(), 40u);
    return wrong;
  }

 private:
  static constexpr size_t kStampBytes = 16;
  struct Block {
    int owner = 0;
    SlotIndex slot = kNoSlot;
  };

  std::byte* Seen(size_t read) const { return race_->host(100) + read * kStampBytes; }

  void FreeOne() {
    const size_t which = random_() % live_.size();
    freed_[live_[which].slot] = race_->device().Mark(Lane::kCompute);
    pool_.Free(live_[which].slot);
    live_.erase(live_.begin() + static_cast<ptrdiff_t>(which));
  }
  void Load(int owner) {
    const SlotIndex slot = pool_.Allocate(kBlockBytes).value();
    Device& device = race_->device();
    race_->FillHost(static_cast<size_t>(owner), owner);
    if (freed_.count(slot) > 0) device.Await(Lane::kToDevice, freed_[slot]);
    race_->Copy(Lane::kToDevice, pool_.SlotMemory(slot).data(),
                race_->host(static_cast<size_t>(owner)));
    device.Await(Lane::kCompute, device.Mark(Lane::kToDevice));
    race_->Hold(Lane::kCompute, kStepUs);
    live_.push_back({owner, slot});
  }
  void Read(const Block& block) {
    race_->Copy(Lane::kCompute, Seen(readers_.size()), pool_.SlotMemory(block.slot).data(),
                kStampBytes);
    readers_.push_back(block.owner);
  }

  Race* const race_;
  SlotPool pool_;
  std::mt19937_64 random_{11};
  std::vector<Block> live_;
  std::map<SlotIndex, Moment> freed_;
  std::vector<int> readers_;  // of each read, whose block it should have seen
};

int ReuseSlots(Race& race) { return SlotRace(&race).Run(); }

// C4: the host writes the next step's tables into the buffer that the last step's copy still reads.
int ReuseStaging(Race& race) {
  constexpr size_t kSteps = 6;
  auto ring = StagingRing::Create(&race.device(), 2, kBlockBytes);
  EXPECT_TRUE(ring.ok()) << ring.status();
  race.Hold(Lane::kCompute, kLongUs);
  for (size_t step = 0; step < kSteps; ++step) {
    auto buffer = (*ring)->Acquire();
    EXPECT_TRUE(buffer.ok()) << buffer.status();
    std::memset(buffer->bytes().data(), static_cast<int>(step), kBlockBytes);
    race.Copy(Lane::kCompute, race.own(step), buffer->bytes().data());
    buffer->ReleaseAfter(Lane::kCompute);
  }
  race.FinishAll();
  int wrong = 0;
  for (size_t step = 0; step < kSteps; ++step) {
    race.Copy(Lane::kToHost, race.host(step), race.own(step));
    race.FinishAll();
    wrong += race.HostIs(step, static_cast<int>(step)) ? 0 : 1;
  }
  return wrong;
}

// What C1 to C4 are: a run, and the guard without which it must go wrong.
struct Scenario {
  const char* name;
  int (*run)(Race&);
  Guard guard;
  Lane lane;
};
constexpr Scenario kScenarios[] = {
    {"C1StoreStartsAfterTheStepThatWrote", WriteThenStore, Guard::kAwait, Lane::kToHost},
    {"C2StepStartsAfterTheLoad", LoadThenRead, Guard::kAwait, Lane::kCompute},
    {"C3SlotIsReusedAfterItsLastReader", ReuseSlots, Guard::kMark, Lane::kCompute},
    {"C4StagingIsReusedAfterItsReader", ReuseStaging, Guard::kWait, Lane::kCompute},
};

using Case = std::tuple<Scenario, DeviceTrack>;
std::string NameOf(const testing::TestParamInfo<Case>& info) {
  return absl::StrCat(std::get<0>(info.param).name, std::get<1>(info.param).Name());
}

class RacesTest : public ::testing::TestWithParam<Case> {};

TEST_P(RacesTest, WithTheGuardAllBytesAreRight) {
  const auto& [scenario, track] = GetParam();
  const auto race = Race::Open(track);
  if (absl::IsNotFound(race.status())) GTEST_SKIP() << race.status();
  ASSERT_TRUE(race.ok()) << race.status();
  EXPECT_EQ(scenario.run(**race), 0);
}

INSTANTIATE_TEST_SUITE_P(All, RacesTest,
                         testing::Combine(testing::ValuesIn(kScenarios),
                                          testing::Values(DeviceTrack{0}, DeviceTrack{1},
                                                          DeviceTrack{2}, DeviceTrack{3},
                                                          DeviceTrack{4}, DeviceTrack{5},
                                                          DeviceTrack{6}, DeviceTrack{})),
                         NameOf);

class UnguardedRacesTest : public ::testing::TestWithParam<Case> {};

TEST_P(UnguardedRacesTest, WithoutTheGuardSomeAreWrong) {
  const auto& [scenario, track] = GetParam();
  const auto race = Race::Open(track, scenario.guard, scenario.lane);
  if (absl::IsNotFound(race.status())) GTEST_SKIP() << race.status();
  ASSERT_TRUE(race.ok()) << race.status();
  EXPECT_GT(scenario.run(**race), 0);
}

INSTANTIATE_TEST_SUITE_P(All, UnguardedRacesTest,
                         testing::Combine(testing::ValuesIn(kScenarios),
                                          testing::Values(DeviceTrack{0}, DeviceTrack{})),
                         NameOf);

// C5: after swaps, a block's number says nothing about its slot; a step's table comes from the
// addresses of the blocks.
class TableTest : public ::testing::TestWithParam<DeviceTrack> {
 protected:
  enum class TableOf { kAddresses, kNumbers };

  // Reads blocks by table; returns those that were another's.
  int Run(Race& race, TableOf table_of) {
    constexpr size_t kSlots = 8;
    constexpr size_t kUnitsASlot = kBlockBytes / SlotPool::kUnitBytes;
    SlotPool pool(race.own().first(kSlots * kBlockBytes));
    std::vector<SlotIndex> slots;  // by number of the block
    for (size_t b = 0; b < kSlots; ++b) slots.push_back(pool.Allocate(kBlockBytes).value());
    for (const size_t b : {1, 4, 6}) pool.Free(slots[b]);
    for (const size_t b : {1, 4, 6}) slots[b] = pool.Allocate(kBlockBytes).value();
    std::swap(slots[0], slots[7]);
    size_t num_moved = 0;
    for (size_t b = 0; b < kSlots; ++b) {
      num_moved += slots[b] == b * kUnitsASlot ? 0 : 1;
      race.FillHost(b, static_cast<int>(b));
      race.Copy(Lane::kToDevice, pool.SlotMemory(slots[b]).data(), race.host(b));
    }
    EXPECT_GE(num_moved, 2u);
    race.device().Await(Lane::kCompute, race.device().Mark(Lane::kToDevice));
    for (size_t b = 0; b < kSlots; ++b) {
      const size_t unit =
          table_of == TableOf::kNumbers
              ? b * kUnitsASlot
              : static_cast<size_t>(pool.SlotMemory(slots[b]).data() - race.own().data()) /
                    SlotPool::kUnitBytes;
      race.Copy(Lane::kCompute, race.host(20 + b), race.own().data() + unit * SlotPool::kUnitBytes);
    }
    race.FinishAll();
    int wrong = 0;
    for (size_t b = 0; b < kSlots; ++b) wrong += race.HostIs(20 + b, static_cast<int>(b)) ? 0 : 1;
    return wrong;
  }
};

TEST_P(TableTest, C5TablesComeFromAddresses) {
  for (const TableOf table_of : {TableOf::kAddresses, TableOf::kNumbers}) {
    const auto race = Race::Open(GetParam());
    if (absl::IsNotFound(race.status())) GTEST_SKIP() << race.status();
    ASSERT_TRUE(race.ok()) << race.status();
    if (table_of == TableOf::kAddresses) {
      EXPECT_EQ(Run(**race, table_of), 0);
    } else {
      EXPECT_GT(Run(**race, table_of), 0) << "the run would not have shown it";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, TableTest,
                         testing::Values(DeviceTrack{0}, DeviceTrack{1}, DeviceTrack{2},
                                         DeviceTrack{}),
                         [](const auto& info) { return info.param.Name(); });

}  // namespace
}  // namespace reprise::cachestore
