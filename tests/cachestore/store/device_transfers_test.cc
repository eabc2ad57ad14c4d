#include "cachestore/store/device_transfers.h"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <vector>

#include "absl/synchronization/notification.h"
#include "cachestore/memory/host_arena.h"
#include "tests/fakes/held_device.h"
#include "tests/fakes/lazy_device.h"

namespace reprise::cachestore {
namespace {

constexpr size_t kMiB = size_t{1} << 20;
constexpr size_t kBytes = 64 * kMiB;

class DeviceTransfersTest : public ::testing::Test {
 protected:
  // A copy of `bytes` from the host's byte `at` on to the same place of the device, or back.
  DeviceTransfer CopyOf(Lane lane, size_t at, size_t bytes) {
    std::byte* host = host_->bytes().data() + at;
    std::byte* own = own_.bytes().data() + at;
    DeviceTransfer transfer;
    const bool to_device = lane == Lane::kToDevice;
    transfer.Add({.to = to_device ? own : host, .from = to_device ? host : own, .bytes = bytes},
                 {});
    return transfer;
  }
  void Note(DeviceTransfer& transfer, int name) {
    transfer.done = [this, name](const absl::Status& status) {
      absl::MutexLock lock(&mu_);
      ended_.push_back(name);
      statuses_.push_back(status);
    };
  }
  // Waits until `count` copies have ended; their names, in order.
  std::vector<int> Ended(size_t count) {
    absl::MutexLock lock(&mu_);
    const auto enough = [&] {
      mu_.AssertHeld();
      return ended_.size() >= count;
    };
    mu_.Await(absl::Condition(&enough));
    return ended_;
  }

  LazyDevice device_{0, 512 * kMiB};
  const std::unique_ptr<HostArena> host_ = *HostArena::Reserve(kBytes);
  const DeviceBytes pinned_ = *device_.Register(host_->bytes());
  const DeviceBytes own_ = *device_.Reserve(kBytes);
  absl::Mutex mu_;
  std::vector<int> ended_ ABSL_GUARDED_BY(mu_);
  std::vector<absl::Status> statuses_ ABSL_GUARDED_BY(mu_);
};

TEST_F(DeviceTransfersTest, BytesGoThereAndBackAndEachEndIsToldOnce) {
  DeviceTransfers transfers(&device_);
  std::memset(host_->bytes().data(), 0x5a, 1000);
  DeviceTransfer there = CopyOf(Lane::kToDevice, 0, 1000);
  Note(there, 1);
  transfers.Start(Lane::kToDevice, Urgency::kAwaited, std::move(there));
  EXPECT_EQ(Ended(1), std::vector<int>{1});
  std::memset(host_->bytes().data(), 0, 1000);
  DeviceTransfer back = CopyOf(Lane::kToHost, 0, 1000);
  Note(back, 2);
  transfers.Start(Lane::kToHost, Urgency::kBackground, std::move(back));
  EXPECT_EQ(Ended(2), (std::vector<int>{1, 2}));
  EXPECT_EQ(host_->bytes()[999], std::byte{0x5a});
}

TEST_F(DeviceTransfersTest, ACopyStartsAfterTheStepsThatItAwaits) {
  DeviceTransfers transfers(&device_);
  auto* steps = static_cast<LazyDevice::Queue*>(device_.Stream(Lane::kCompute));
  steps->Enqueue([own = own_.bytes()] { std::memset(own.data(), 7, 100); });
  DeviceTransfer transfer = CopyOf(Lane::kToHost, 0, 100);
  const Moment early = device_.Mark(Lane::kCompute);
  steps->Enqueue([own = own_.bytes()] { std::memset(own.data() + 100, 8, 100); });
  // The later of the two counts, whichever is named first.
  transfer.Add({.to = host_->bytes().data() + 100, .from = own_.bytes().data() + 100, .bytes = 100},
               device_.Mark(Lane::kCompute));
  transfer.Add({.to = host_->bytes().data() + 200, .from = own_.bytes().data(), .bytes = 100},
               early);
  Note(transfer, 1);
  transfers.Start(Lane::kToHost, Urgency::kAwaited, std::move(transfer));
  Ended(1);
  EXPECT_EQ(host_->bytes()[0], std::byte{7});
  EXPECT_EQ(host_->bytes()[199], std::byte{8});
}

TEST_F(DeviceTransfersTest, WhoAwaitsTheMomentThatWasGivenFindsTheBytes) {
  HeldDevice held(&device_);
  held.Hold(Lane::kToDevice);
  DeviceTransfers transfers(&held);
  std::memset(host_->bytes().data(), 0x5a, 1000);
  DeviceTransfer transfer = CopyOf(Lane::kToDevice, 0, 1000);
  Moment landed;
  transfer.given = [&](Moment moment) { landed = moment; };
  Note(transfer, 1);
  transfers.Start(Lane::kToDevice, Urgency::kAwaited, std::move(transfer));
  EXPECT_EQ(landed.lane, Lane::kToDevice);
  device_.Await(Lane::kCompute, landed);
  std::byte seen{0};
  static_cast<LazyDevice::Queue*>(device_.Stream(Lane::kCompute))->Enqueue([&] {
    seen = own_.bytes()[999];
  });
  EXPECT_TRUE(device_.Wait(device_.Mark(Lane::kCompute)).ok());
  EXPECT_EQ(seen, std::byte{0x5a});
  held.LetGo(Lane::kToDevice);
  EXPECT_EQ(Ended(1), std::vector<int>{1});
}

TEST_F(DeviceTransfersTest, OfACopyThatCouldNotBeGivenNoMomentIsTold) {
  DeviceTransfers transfers(&device_);
  device_.Fail(absl::InternalError("the card is gone"));
  DeviceTransfer transfer = CopyOf(Lane::kToDevice, 0, 1000);
  bool was_given = false;
  transfer.given = [&](Moment) { was_given = true; };
  Note(transfer, 1);
  transfers.Start(Lane::kToDevice, Urgency::kAwaited, std::move(transfer));
  Ended(1);
  EXPECT_FALSE(was_given);
}

TEST_F(DeviceTransfersTest, OfWhatWaitsTheAwaitedGoesFirst) {
  DeviceTransfers transfers(&device_);
  absl::Notification entered;
  absl::Notification go_on;
  // Holds up the lane's thread, while six copies of 64 MiB are in flight or wait.
  DeviceTransfer first = CopyOf(Lane::kToHost, 0, 100);
  first.done = [&](const absl::Status&) {
    entered.Notify();
    go_on.WaitForNotification();
  };
  transfers.Start(Lane::kToHost, Urgency::kBackground, std::move(first));
  entered.WaitForNotification();
  for (int i = 0; i < 6; ++i) {
    DeviceTransfer background = CopyOf(Lane::kToHost, 0, kBytes);
    Note(background, i);
    transfers.Start(Lane::kToHost, Urgency::kBackground, std::move(background));
  }
  DeviceTransfer awaited = CopyOf(Lane::kToHost, 0, 100);
  Note(awaited, 100);
  // 256 MiB are in flight, and this one is not behind those that are not.
  EXPECT_EQ(device_.num_waiting(Lane::kToHost), 4u);
  transfers.Start(Lane::kToHost, Urgency::kAwaited, std::move(awaited));
  go_on.Notify();
  EXPECT_EQ(Ended(7), (std::vector<int>{0, 1, 2, 3, 100, 4, 5}));
}

TEST_F(DeviceTransfersTest, AFailureReachesEveryCopy) {
  DeviceTransfers transfers(&device_);
  device_.Fail(absl::InternalError("broken"));
  for (const Lane lane : {Lane::kToDevice, Lane::kToHost}) {
    DeviceTransfer transfer = CopyOf(lane, 0, 100);
    Note(transfer, 1);
    transfers.Start(lane, Urgency::kAwaited, std::move(transfer));
  }
  Ended(2);
  absl::MutexLock lock(&mu_);
  for (const absl::Status& status : statuses_) {
    EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  }
}

}  // namespace
}  // namespace reprise::cachestore
