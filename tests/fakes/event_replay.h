// EventReplay: who follows a store by its events alone, and so knows which blocks are in each tier.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <vector>

#include "cachestore/store/tiered_store.h"

namespace reprise::cachestore {

class EventReplay {
 public:
  // Key -> namespace, for each tier.
  using Tiers = std::array<std::map<BlockKey, uint32_t>, kNumCacheTiers>;

  // Takes in all events up to now. Every stored event must be of a block that was not there, every
  // removed one of a block that was.
  void CatchUp(const TieredStore& store) {
    for (;;) {
      const EventPage page = store.Events(next_, 1000);
      ASSERT_EQ(page.first, next_) << "events were forgotten";
      if (page.events.empty()) return;
      for (const StoreEvent& event : page.events) {
        ASSERT_EQ(event.sequence, next_++);
        Take(event);
      }
    }
  }

  // At a moment without events: what the events tell is what List tells.
  void ExpectThatListAgrees(const TieredStore& store) {
    for (;;) {
      CatchUp(store);
      const Tiers listed = Listed(store);
      if (store.next_event() != next_) continue;
      ASSERT_EQ(tiers_, listed);
      return;
    }
  }

  const Tiers& tiers() const { return tiers_; }
  const std::vector<StoreEvent>& events() const { return events_; }
  int64_t Count(EventKind kind) const {
    return std::count_if(events_.begin(), events_.end(),
                         [kind](const StoreEvent& event) { return event.kind == kind; });
  }
  int64_t CountRemoved(CacheTier tier, Removal why) const {
    return std::count_if(events_.begin(), events_.end(), [&](const StoreEvent& event) {
      return event.kind == EventKind::kRemoved && event.tier == tier && event.why == why;
    });
  }

 private:
  static Tiers Listed(const TieredStore& store) {
    Tiers tiers;
    ListRequest request = {.scope = AllBlocks{}, .cursor = 0, .max_blocks = 7};
    while (request.cursor != kEndOfList) {
      const ListPage page = store.List(request);
      for (const ListedBlock& block : page.blocks) {
        for (const CacheTier tier : kCacheTiers) {
          if (!block.tiers.Has(tier)) continue;
          EXPECT_TRUE(
              tiers[static_cast<size_t>(tier)].emplace(block.key, block.namespace_id).second)
              << "listed twice";
        }
      }
      request.cursor = page.cursor;
    }
    return tiers;
  }

  void Take(const StoreEvent& event) {
    events_.push_back(event);
    if (event.kind == EventKind::kCleared) {
      for (auto& tier : tiers_) {
        for (const auto& [key, ns] : tier) EXPECT_NE(ns, event.namespace_id) << "was not empty";
      }
      return;
    }
    auto& tier = tiers_[static_cast<size_t>(event.tier)];
    if (event.kind == EventKind::kStored) {
      EXPECT_TRUE(tier.emplace(event.key, event.namespace_id).second) << "was there already";
    } else {
      EXPECT_EQ(tier.erase(event.key), 1u) << "was not there";
    }
  }

  uint64_t next_ = 1;
  Tiers tiers_;
  std::vector<StoreEvent> events_;
};

}  // namespace reprise::cachestore
