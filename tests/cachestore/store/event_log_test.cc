#include "cachestore/store/event_log.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <optional>
#include <random>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "tests/fakes/test_seed.h"

namespace reprise::cachestore {
namespace {

// An event whose fields all follow from its number, so that a torn one shows.
StoreEvent EventOf(uint64_t number) {
  return {.time = {},
          .kind = number % 2 == 0 ? EventKind::kRemoved : EventKind::kStored,
          .tier = static_cast<CacheTier>(number % 3),
          .why = static_cast<Removal>(number % 4),
          .namespace_id = static_cast<uint32_t>(number * 7),
          .key = {number * 3, number * 5},
          .parent = {number * 11, number * 13}};
}
bool IsWhole(const StoreEvent& event) {
  const StoreEvent expected = EventOf(event.sequence);
  return event.kind == expected.kind && event.tier == expected.tier && event.why == expected.why &&
         event.namespace_id == expected.namespace_id && event.key == expected.key &&
         event.parent == expected.parent;
}

TEST(EventLogTest, EventsAreNumberedFromOneAndReadFromAnyNumber) {
  EventLog log(8);
  EXPECT_EQ(log.next_sequence(), 1u);
  EXPECT_EQ(log.Read(0, 10).first, 1u);
  const absl::Time begin = absl::Now() - absl::Milliseconds(1);
  for (uint64_t i = 1; i <= 5; ++i) log.Append(EventOf(i));
  const EventPage page = log.Read(2, 3);
  EXPECT_EQ(page.first, 2u);
  ASSERT_EQ(page.events.size(), 3u);
  EXPECT_EQ(page.next(), 5u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(page.events[i].sequence, 2 + i);
    EXPECT_TRUE(IsWhole(page.events[i]));
    EXPECT_GT(page.events[i].time, begin);
    EXPECT_LE(page.events[i].time, absl::Now());
  }
  EXPECT_TRUE(log.Read(6, 10).events.empty());
  EXPECT_EQ(log.Read(6, 10).next(), 6u);
  EXPECT_EQ(log.Read(100, 10).first, 100u) << "not reached yet";
}

TEST(EventLogTest, WhatIsForgottenIsSkippedAndShows) {
  EventLog log(8);
  for (uint64_t i = 1; i <= 20; ++i) log.Append(EventOf(i));
  const EventPage page = log.Read(3, 100);
  EXPECT_EQ(page.first, 13u);
  EXPECT_EQ(page.events.size(), 8u);
  EXPECT_EQ(page.next(), 21u);
}

TEST(EventLogTest, TheLastRemovalOfAKeyIsKnownAsLongAsItsEventIsKept) {
  std::mt19937 random(TestSeed());
  constexpr size_t kCapacity = 32;
  EventLog log(kCapacity);
  std::vector<StoreEvent> all;
  for (int step = 0; step < 5000; ++step) {
    StoreEvent event = EventOf(random() % 4);
    event.kind = static_cast<EventKind>(random() % 3);
    event.key = {1, random() % 24};
    log.Append(event);
    all.push_back(event);
    for (uint64_t lo = 0; lo < 24; ++lo) {
      std::optional<Removal> expected;
      for (size_t i = all.size() - std::min(all.size(), kCapacity); i < all.size(); ++i) {
        if (all[i].kind == EventKind::kRemoved && all[i].key.lo == lo) expected = all[i].why;
      }
      const std::optional<LastRemoval> known = log.LastRemovalOf({1, lo});
      ASSERT_EQ(known.has_value(), expected.has_value()) << "step " << step;
      if (known.has_value()) {
        ASSERT_EQ(known->why, *expected);
      }
    }
  }
}

TEST(EventLogTest, WhoWaitsIsWokenByTheEvent) {
  EventLog log(8);
  EXPECT_FALSE(log.Await(1, absl::Now() - absl::Seconds(1)));
  std::atomic<int> awake = 0;
  std::vector<std::thread> waiters;
  for (uint64_t i = 1; i <= 3; ++i) {
    waiters.emplace_back([&, i] {
      EXPECT_TRUE(log.Await(i, absl::Now() + absl::Seconds(60)));
      ++awake;
    });
  }
  for (uint64_t i = 1; i <= 3; ++i) {
    log.Append(EventOf(i));
    waiters[i - 1].join();
    EXPECT_GE(awake, static_cast<int>(i));
  }
  EXPECT_TRUE(log.Await(3, absl::InfinitePast()));
}

TEST(EventLogTest, ReadersBesideAWriterThatOverwritesSeeWholeEventsInOrder) {
  EventLog log(64);
  constexpr uint64_t kEvents = 200'000;
  std::atomic<int64_t> seen = 0;
  std::atomic<int64_t> skipped = 0;
  std::vector<std::thread> readers;
  for (int i = 0; i < 2; ++i) {
    readers.emplace_back([&, i] {
      for (uint64_t at = 1; at <= kEvents;) {
        if (i == 0 && !log.Await(at, absl::Now() + absl::Seconds(60))) break;
        const EventPage page = log.Read(at, 50);
        ASSERT_GE(page.first, at);
        skipped += static_cast<int64_t>(page.first - at);
        for (size_t k = 0; k < page.events.size(); ++k) {
          ASSERT_EQ(page.events[k].sequence, page.first + k);
          ASSERT_TRUE(IsWhole(page.events[k])) << page.events[k].sequence;
        }
        seen += static_cast<int64_t>(page.events.size());
        at = page.next();
      }
    });
  }
  for (uint64_t i = 1; i <= kEvents; ++i) log.Append(EventOf(i));
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(seen + skipped, static_cast<int64_t>(2 * kEvents));
  EXPECT_GT(seen, 0);
}

}  // namespace
}  // namespace reprise::cachestore
