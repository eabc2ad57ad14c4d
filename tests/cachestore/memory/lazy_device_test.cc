// The fake that stands for a device: it is late wherever it may be, and never where it may not.
#include "tests/fakes/lazy_device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace reprise::cachestore {
namespace {

constexpr size_t kPage = Device::kAlignment;

// A device with one page of its own and two pinned pages of the host: the second is for results.
struct Fixture {
  explicit Fixture(uint64_t seed = 0)
      : device(seed),
        own(*device.Reserve(kPage)),
        pinned(*device.Register({host_bytes, 2 * kPage})) {
    std::fill_n(host(), 2 * kPage, std::byte{1});
  }

  std::byte* on_device() const { return own.bytes().data(); }
  std::byte* host() const { return pinned.bytes().data(); }
  void CopyIn() { EXPECT_TRUE(device.Copy(Lane::kToDevice, {{on_device(), host(), 64}}).ok()); }
  void CopyOut() {
    EXPECT_TRUE(device.Copy(Lane::kToHost, {{host() + kPage, on_device(), 64}}).ok());
  }
  void Enqueue(Lane lane, absl::AnyInvocable<void() &&> work) {
    static_cast<LazyDevice::Queue*>(device.Stream(lane))->Enqueue(std::move(work));
  }

  alignas(kPage) std::byte host_bytes[2 * kPage];
  LazyDevice device;
  DeviceBytes own;
  DeviceBytes pinned;
};

TEST(LazyDeviceTest, WorkRunsWhenItIsForcedAndInTheOrderOfItsLane) {
  std::vector<int> order;
  Fixture f;
  f.Enqueue(Lane::kCompute, [&] { order.push_back(1); });
  const Moment first = f.device.Mark(Lane::kCompute);
  f.Enqueue(Lane::kCompute, [&] { order.push_back(2); });
  f.Enqueue(Lane::kToHost, [&] { order.push_back(3); });
  EXPECT_THAT(order, testing::IsEmpty());
  ASSERT_TRUE(f.device.Wait(first).ok());
  EXPECT_THAT(order, testing::ElementsAre(1));
  EXPECT_TRUE(f.device.HasPassed(first));
  ASSERT_TRUE(f.device.Wait(f.device.Mark(Lane::kCompute)).ok());
  EXPECT_THAT(order, testing::ElementsAre(1, 2)) << "nothing forced the other lane";
}

TEST(LazyDeviceTest, AwaitForcesTheOtherLaneFirst) {
  std::vector<int> order;
  Fixture f;
  f.Enqueue(Lane::kToDevice, [&] { order.push_back(1); });
  f.device.Await(Lane::kCompute, f.device.Mark(Lane::kToDevice));
  f.Enqueue(Lane::kCompute, [&] { order.push_back(2); });
  f.device.Await(Lane::kToHost, f.device.Mark(Lane::kCompute));
  ASSERT_TRUE(f.device.Wait(f.device.Mark(Lane::kToHost)).ok());
  EXPECT_THAT(order, testing::ElementsAre(1, 2)) << "a wait alone passes its moment on";
}

TEST(LazyDeviceTest, FreshMemoryAndWhatACopyIsUnderWayToArePoison) {
  Fixture f;
  EXPECT_EQ(f.on_device()[kPage - 1], LazyDevice::kPoison);
  f.CopyIn();
  ASSERT_TRUE(f.device.Wait(f.device.Mark(Lane::kToDevice)).ok());
  EXPECT_EQ(f.on_device()[63], std::byte{1});
  f.CopyIn();
  EXPECT_EQ(f.on_device()[63], LazyDevice::kPoison);
  ASSERT_TRUE(f.device.Wait(f.device.Mark(Lane::kToDevice)).ok());
  EXPECT_EQ(f.on_device()[63], std::byte{1});
}

TEST(LazyDeviceTest, ACopyThatAwaitsLeavesItsDestinationAlone) {
  std::byte seen{};
  Fixture f;
  std::fill_n(f.on_device(), 64, std::byte{5});
  f.Enqueue(Lane::kCompute, [&] { seen = f.on_device()[0]; });
  f.device.Await(Lane::kToDevice, f.device.Mark(Lane::kCompute));
  f.CopyIn();
  EXPECT_EQ(f.on_device()[0], std::byte{5});
  ASSERT_TRUE(f.device.Wait(f.device.Mark(Lane::kToDevice)).ok());
  EXPECT_EQ(seen, std::byte{5});
  EXPECT_EQ(f.on_device()[0], std::byte{1});
}

TEST(LazyDeviceTest, ACopyReadsItsSourceAsLateAsItMay) {
  Fixture f;
  f.CopyIn();
  f.host()[0] = std::byte{9};
  ASSERT_TRUE(f.device.Wait(f.device.Mark(Lane::kToDevice)).ok());
  EXPECT_EQ(f.on_device()[0], std::byte{9});
}

TEST(LazyDeviceTest, PollingEndsAndTheDeviceEndsItsWork) {
  bool ran = false;
  {
    Fixture f;
    f.Enqueue(Lane::kToHost, [] {});
    const Moment moment = f.device.Mark(Lane::kToHost);
    EXPECT_FALSE(f.device.HasPassed(moment));
    int polls = 0;
    while (!f.device.HasPassed(moment)) ++polls;
    EXPECT_LT(polls, 10);
    f.Enqueue(Lane::kToHost, [&] { ran = true; });
  }
  EXPECT_TRUE(ran);
}

// What two lanes that nothing orders do to each other, for many seeds: every outcome that the
// contract allows comes up, and no other.
TEST(LazyDeviceTest, SeedsShowAllLegalOrders) {
  std::set<std::byte> racing;
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    for (const bool ordered : {false, true}) {
      Fixture f(seed);
      f.Enqueue(Lane::kCompute, [&] { std::fill_n(f.on_device(), 64, std::byte{7}); });
      if (ordered) f.device.Await(Lane::kToHost, f.device.Mark(Lane::kCompute));
      f.CopyOut();
      ASSERT_TRUE(f.device.Wait(f.device.Mark(Lane::kToHost)).ok());
      const std::byte got = f.host()[kPage];
      if (ordered) {
        EXPECT_EQ(got, std::byte{7}) << seed;
      } else {
        racing.insert(got);
      }
      ASSERT_TRUE(f.device.Wait(f.device.Mark(Lane::kCompute)).ok());
    }
  }
  EXPECT_THAT(racing, testing::ElementsAre(std::byte{7}, LazyDevice::kPoison));
}

TEST(LazyDeviceTest, AFailedDeviceSaysSoEverywhereAndPassesNothingMore) {
  Fixture f;
  f.CopyIn();
  ASSERT_TRUE(f.device.Wait(f.device.Mark(Lane::kToDevice)).ok());
  const Moment before = f.device.Mark(Lane::kToDevice);
  f.CopyIn();
  const Moment after = f.device.Mark(Lane::kToDevice);
  f.device.Fail(absl::InternalError("the card fell off the bus"));
  EXPECT_TRUE(f.device.HasPassed(before));
  EXPECT_TRUE(f.device.Wait(before).ok());
  for (int i = 0; i < 20; ++i) EXPECT_FALSE(f.device.HasPassed(after));
  EXPECT_EQ(f.device.Wait(after).code(), absl::StatusCode::kInternal);
  EXPECT_EQ(f.device.Copy(Lane::kToDevice, {{f.on_device(), f.host(), 64}}).code(),
            absl::StatusCode::kInternal);
  // Of a lane that nothing was given either.
  EXPECT_FALSE(f.device.HasPassed(f.device.Mark(Lane::kCompute)));
  EXPECT_EQ(f.device.Wait(f.device.Mark(Lane::kCompute)).code(), absl::StatusCode::kInternal);
}

TEST(LazyDeviceTest, TheDeviceHoldsWhatItHoldsAndTakesItBack) {
  LazyDevice device(0, 4 * kPage);
  auto three = device.Reserve(3 * kPage);
  ASSERT_TRUE(three.ok());
  const absl::Status full = device.Reserve(2 * kPage).status();
  EXPECT_EQ(full.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(full.message()), testing::HasSubstr("4096 are free"));
  *three = DeviceBytes();
  EXPECT_TRUE(device.Reserve(4 * kPage).ok());
}

// Each thread sends its own bytes there and back on lanes that all share.
TEST(LazyDeviceTest, ThreadsShareTheLanes) {
  constexpr int kThreads = 4;
  constexpr size_t kBytes = 64;
  Fixture f(3);
  std::vector<std::thread> threads;
  std::atomic<int> num_right = 0;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      std::byte* const sent = f.host() + t * kBytes;
      std::byte* const back = f.host() + kPage + t * kBytes;
      std::byte* const own = f.on_device() + t * kBytes;
      for (int round = 0; round < 100; ++round) {
        const std::byte value = static_cast<std::byte>(round * kThreads + t);
        std::fill_n(sent, kBytes, value);
        (void)f.device.Copy(Lane::kToDevice, {{own, sent, kBytes}});
        f.device.Await(Lane::kToHost, f.device.Mark(Lane::kToDevice));
        (void)f.device.Copy(Lane::kToHost, {{back, own, kBytes}});
        const Moment done = f.device.Mark(Lane::kToHost);
        while (!f.device.HasPassed(done)) std::this_thread::yield();
        if (std::all_of(back, back + kBytes, [&](std::byte b) { return b == value; })) ++num_right;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(num_right, kThreads * 100);
}

TEST(LazyDeviceTest, MisuseEndsTheProcess) {
  Fixture f;
  std::byte elsewhere[64];
  EXPECT_DEATH((void)f.device.Copy(Lane::kToDevice, {{f.on_device(), elsewhere, 64}}), "has_value");
  EXPECT_DEATH((void)f.device.Copy(Lane::kToHost, {{f.on_device(), f.host(), 64}}), "MayCopy");
  EXPECT_DEATH(f.device.Await(Lane::kToHost, {Lane::kCompute, 1}), "number");
  EXPECT_DEATH((void)f.device.Wait({Lane::kCompute, 1}), "number");
  f.CopyIn();
  EXPECT_DEATH(f.pinned = DeviceBytes(), "touches");
  EXPECT_DEATH(f.own = DeviceBytes(), "touches");
  ASSERT_TRUE(f.device.Wait(f.device.Mark(Lane::kToDevice)).ok());
}

}  // namespace
}  // namespace reprise::cachestore
