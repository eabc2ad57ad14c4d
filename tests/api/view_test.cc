// What a server shows of its cache: List, Usage, WhatIf, Explain, Touch and Watch, against a live
// one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "api/view/event_feed.h"
#include "tests/api/cache_service_fixture.h"
#include "tests/api/credentials_fixture.h"

namespace reprise::api {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string Text(const std::vector<uint32_t>& tokens) {
  return std::string(reinterpret_cast<const char*>(tokens.data()), tokens.size() * 4);
}

TEST_F(CacheServiceTest, ListTellsEveryBlockOnceAPageAtATime) {
  PutBlocks(5);
  v1::ListRequest request;
  request.set_page_size(2);
  request.set_with_token_ids(true);
  std::set<std::string> keys;
  std::set<std::string> contents;
  int pages = 0;
  do {
    const auto page = client_.List(request, kTestTimeout);
    ASSERT_TRUE(page.ok()) << page.status();
    ASSERT_LT(++pages, 100);
    for (const v1::ListedBlock& block : page->blocks()) {
      EXPECT_TRUE(keys.insert(block.key()).second);
      EXPECT_EQ(block.key().size(), 16u);
      EXPECT_EQ(block.parent_key().size(), block.depth() == 0 ? 0u : 16u);
      EXPECT_EQ(block.bytes(), block_bytes_);
      EXPECT_THAT(block.tiers(), ElementsAre("ram"));
      EXPECT_EQ(block.in_namespace().tenant(), "default");
      EXPECT_EQ(block.in_namespace().model_digest(), "model-a");
      const std::vector<uint32_t> tokens(tokens_.begin() + block.depth() * kTestBlockTokens,
                                         tokens_.begin() + (block.depth() + 1) * kTestBlockTokens);
      EXPECT_THAT(block.token_ids(), ::testing::ElementsAreArray(tokens));
      contents.insert(Text(tokens));
    }
    request.set_cursor(page->cursor());
  } while (!request.cursor().empty());
  EXPECT_EQ(keys.size(), 5u);
  EXPECT_EQ(contents.size(), 5u);

  request.set_page_size(-1);
  EXPECT_EQ(client_.List(request, kTestTimeout).status().code(),
            absl::StatusCode::kInvalidArgument);
  request.set_page_size(0);
  request.set_cursor("elsewhere");
  EXPECT_EQ(client_.List(request, kTestTimeout).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(CacheServiceTest, ListOfOneNamespaceHasItsBlocksAlone) {
  PutBlocks(2);
  v1::NamespaceIdentity other = TestIdentity();
  other.set_salt("other");
  const auto opened = client_.OpenNamespace(other, kTestTimeout);
  ASSERT_TRUE(opened.ok());
  v1::ListRequest request;
  request.set_namespace_id(opened->namespace_id());
  EXPECT_EQ(client_.List(request, kTestTimeout)->blocks_size(), 0);
  request.set_namespace_id(ns_);
  EXPECT_EQ(client_.List(request, kTestTimeout)->blocks_size(), 2);
  request.set_namespace_id(ns_ + 1);
  EXPECT_EQ(client_.List(request, kTestTimeout).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(CacheServiceTest, UsageCountsBlocksByTenantNamespaceAndTier) {
  PutBlocks(3);
  const auto usage = client_.Usage(/*all_tenants=*/true, kTestTimeout);
  ASSERT_TRUE(usage.ok()) << usage.status();
  ASSERT_EQ(usage->tenants_size(), 1);
  EXPECT_EQ(usage->tenants(0).tenant(), "default");
  ASSERT_EQ(usage->tenants(0).tiers_size(), 1);
  EXPECT_EQ(usage->tenants(0).tiers(0).tier(), "ram");
  EXPECT_EQ(usage->tenants(0).tiers(0).blocks(), 3);
  EXPECT_GE(usage->tenants(0).tiers(0).bytes(), 3 * block_bytes_);
  ASSERT_EQ(usage->tenants(0).namespaces_size(), 1);
  EXPECT_EQ(usage->tenants(0).namespaces(0).name().model_digest(), "model-a");
  ASSERT_EQ(usage->used_size(), 1);
  EXPECT_EQ(usage->used(0).blocks(), 3);
  ASSERT_EQ(usage->budgets_size(), 2);
  EXPECT_EQ(usage->budgets(1).tier(), "disk");
}

TEST_F(CacheServiceTest, ExplainSaysWhyEachBlockHitsOrMisses) {
  PutBlocks(3);
  std::vector<uint32_t> prompt = tokens_;
  prompt.resize(prompt.size() + 2 * kTestBlockTokens + 1, 7);
  auto explained = client_.Explain(ns_, prompt, kTestTimeout);
  ASSERT_TRUE(explained.ok()) << explained.status();
  std::vector<v1::BlockVerdict> verdicts;
  for (const auto& block : explained->blocks()) verdicts.push_back(block.verdict());
  EXPECT_THAT(verdicts, ElementsAre(v1::BLOCK_VERDICT_RAM, v1::BLOCK_VERDICT_RAM,
                                    v1::BLOCK_VERDICT_RAM, v1::BLOCK_VERDICT_NEVER_STORED,
                                    v1::BLOCK_VERDICT_BEHIND_A_MISS, v1::BLOCK_VERDICT_PARTIAL));
  EXPECT_EQ(explained->usable_tokens(), 3 * kTestBlockTokens);
  EXPECT_THAT(explained->summary(), HasSubstr("block 3 was not stored"));

  v1::InvalidateRequest all;
  all.set_all(true);
  ASSERT_TRUE(client_.Invalidate(all, kTestTimeout).ok());
  explained = client_.Explain(ns_, tokens_, kTestTimeout);
  ASSERT_TRUE(explained.ok());
  EXPECT_EQ(explained->blocks(0).verdict(), v1::BLOCK_VERDICT_INVALIDATED);
  EXPECT_LT(explained->blocks(0).seconds_ago(), 60);
  EXPECT_EQ(explained->usable_tokens(), 0);
  EXPECT_THAT(explained->summary(), HasSubstr("was invalidated"));
}

TEST(ExplainTest, ABlockThatCouldNotBeReadIsLost) {
  const auto faults = std::make_shared<cachestore::FaultPlan>();
  TestServer server({.max_positions = 0, .faults = faults});
  CacheClient client = server.cache();
  const auto opened = client.OpenNamespace(TestIdentity(), kTestTimeout);
  ASSERT_TRUE(opened.ok()) << opened.status();
  const uint32_t ns = opened->namespace_id();
  const auto tokens = TestTokens(2);
  const auto payloads = TestPayloads(2, opened->block_bytes());
  ASSERT_TRUE(client.Put(ns, {}, TestBlocks(tokens, payloads, 0), kTestTimeout).ok());
  ASSERT_TRUE(client.Demote(kTestTimeout).ok());
  faults->FailOneLoadIn(1, absl::InternalError("the disk does not answer"));
  // The first failure may be one of the moment.
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(*client.Get(ns, tokens, 0, kTestTimeout, [](const v1::GetResponse&) {}), 0);
  }
  const auto explained = client.Explain(ns, tokens, kTestTimeout);
  ASSERT_TRUE(explained.ok()) << explained.status();
  for (const auto& block : explained->blocks()) EXPECT_EQ(block.verdict(), v1::BLOCK_VERDICT_LOST);
  EXPECT_THAT(explained->summary(), HasSubstr("block 0 was lost"));
}

TEST_F(CacheServiceTest, WhatIfTellsWhatOtherSizesWouldHave) {
  EXPECT_TRUE(client_.WhatIf(false, kTestTimeout)->tenants().empty());
  // One in eight is watched, by a random secret: the ratio's standard deviation is 0.011.
  constexpr int64_t kBlocks = 1500;
  tokens_ = TestTokens(kBlocks);
  ASSERT_EQ(*client_.Touch(ns_, tokens_, kTestTimeout), 0);
  PutBlocks(kBlocks);
  ASSERT_EQ(*client_.Touch(ns_, tokens_, kTestTimeout), kBlocks);
  const auto report = client_.WhatIf(/*all_tenants=*/true, kTestTimeout);
  ASSERT_TRUE(report.ok()) << report.status();
  ASSERT_EQ(report->tenants_size(), 2);
  EXPECT_EQ(report->tenants(0).tenant(), "");
  EXPECT_EQ(report->tenants(1).tenant(), "default");
  EXPECT_GT(report->sampling_rate(), 0);
  for (const v1::TenantWhatIf& tenant : report->tenants()) {
    EXPECT_EQ(tenant.looked_up_tokens(), 2.0 * kBlocks * kTestBlockTokens);
    ASSERT_EQ(tenant.curves_size(), 2);
    for (const v1::WhatIfCurve& curve : tenant.curves()) {
      ASSERT_EQ(curve.points_size(), 4);
      for (const v1::WhatIfPoint& point : curve.points()) {
        // Missed once, hit once: all sizes have room for so much.
        EXPECT_NEAR(point.hit_ratio(), 0.5, 0.06) << curve.tier() << " " << point.factor();
        EXPECT_NEAR(point.saved_tokens(), point.hit_ratio() * tenant.looked_up_tokens(), 1);
        EXPECT_EQ(point.saved_seconds(), 0) << "there is no model";
        const int64_t whole = curve.tier() == "ram" ? 16 << 20 : 32 << 20;
        EXPECT_EQ(point.bytes(), static_cast<int64_t>(point.factor() * whole));
      }
    }
  }
}

TEST_F(CacheServiceTest, TouchCountsTheCachedPrefix) {
  PutBlocks(3);
  std::vector<uint32_t> prompt = tokens_;
  prompt.resize(prompt.size() + kTestBlockTokens, 7);
  const auto touched = client_.Touch(ns_, prompt, kTestTimeout);
  ASSERT_TRUE(touched.ok()) << touched.status();
  EXPECT_EQ(*touched, 3);
  EXPECT_EQ(server_.store().stats().touched_blocks, 3);
}

TEST_F(CacheServiceTest, WatchReplaysWhatWasStoredAndGoesOn) {
  PutBlocks(3);
  v1::WatchRequest request;
  request.set_from_sequence(1);
  request.set_with_token_ids(true);
  std::vector<v1::CacheEvent> events;
  const absl::Status status =
      client_.Watch(request, kTestTimeout, [&](const v1::CacheEvent& event) {
        events.push_back(event);
        if (event.has_stored()) {  // everything is told: the rest comes while the call waits
          v1::InvalidateRequest all;
          all.set_all(true);
          EXPECT_TRUE(client_.Invalidate(all, kTestTimeout).ok());
        }
        return !event.has_cleared();
      });
  EXPECT_TRUE(status.ok()) << status;
  ASSERT_GE(events.size(), 3u);
  const v1::BlocksStored& stored = events[0].stored();
  EXPECT_EQ(stored.block_hashes_size(), 3);
  EXPECT_EQ(stored.parent_block_hash(), "");
  EXPECT_THAT(stored.token_ids(), ::testing::ElementsAreArray(tokens_));
  EXPECT_EQ(stored.block_size(), kTestBlockTokens);
  EXPECT_EQ(stored.medium(), "ram");
  EXPECT_EQ(events[0].sequence(), 3u);
  int removed = 0;
  for (const v1::CacheEvent& event : events) {
    EXPECT_EQ(event.epoch(), events[0].epoch());
    if (!event.has_removed()) continue;
    removed += event.removed().block_hashes_size();
    EXPECT_EQ(event.removed().reason(), "invalidated");
  }
  EXPECT_EQ(removed, 3);

  // Of another process: everything that this one knows, behind `lost`.
  request.set_epoch(events[0].epoch() + 1);
  request.set_from_sequence(1'000'000);
  events.clear();
  EXPECT_TRUE(client_
                  .Watch(request, kTestTimeout,
                         [&](const v1::CacheEvent& event) {
                           events.push_back(event);
                           return events.size() < 2;
                         })
                  .ok());
  EXPECT_EQ(events[0].lost().next_sequence(), 1u);
  EXPECT_TRUE(events[1].has_stored());

  request.set_epoch(0);
  EXPECT_EQ(client_.Watch(request, kTestTimeout, [](const v1::CacheEvent&) { return true; }).code(),
            absl::StatusCode::kOutOfRange);
}

class ShortMemoryTest : public CacheServiceTest {
 protected:
  static constexpr int64_t kRemembered = 64;
  ShortMemoryTest()
      : CacheServiceTest(
            TestServer::Options{.max_positions = 0, .remembered_events = kRemembered}) {}

  // More events than are remembered.
  void Forget() {
    v1::InvalidateRequest all;
    all.set_all(true);
    const uint64_t begin = server_.store().next_event();
    while (server_.store().next_event() < begin + 2 * kRemembered) {
      PutBlocks(8);
      EXPECT_TRUE(client_.Invalidate(all, kTestTimeout).ok());
    }
  }
};

TEST_F(ShortMemoryTest, WhoComesBackTooLateIsToldWhereEventsGoOn) {
  Forget();
  PutBlocks(2);
  v1::WatchRequest request;
  request.set_from_sequence(1);
  std::vector<v1::CacheEvent> events;
  const auto collect = [&](const v1::CacheEvent& event) {
    events.push_back(event);
    return event.sequence() + 1 < server_.store().next_event();
  };
  EXPECT_TRUE(client_.Watch(request, kTestTimeout, collect).ok());
  ASSERT_GE(events.size(), 2u);
  const uint64_t next = events[0].lost().next_sequence();
  EXPECT_EQ(next, server_.store().next_event() - kRemembered);
  EXPECT_EQ(events[0].sequence(), next - 1);
  for (size_t i = 1; i < events.size(); ++i) {
    EXPECT_FALSE(events[i].has_lost());
    EXPECT_GT(events[i].sequence(), events[i - 1].sequence());
  }
  EXPECT_EQ(events.back().stored().block_hashes_size(), 2);
  // From there on it goes on without a loss, as after any broken connection.
  const size_t seen = events.size();
  PutBlocks(4);
  request.set_from_sequence(events.back().sequence() + 1);
  request.set_epoch(events.back().epoch());
  EXPECT_TRUE(client_.Watch(request, kTestTimeout, collect).ok());
  ASSERT_EQ(events.size(), seen + 1);
  EXPECT_EQ(events.back().stored().block_hashes_size(), 2) << "two were there";
}

TEST_F(ShortMemoryTest, AWatcherThatFallsBehindIsToldSoInTheMiddle) {
  NamespaceNames names(&server_.store());
  v1::WatchRequest request;
  request.set_from_sequence(1);
  auto feed = EventFeed::Begin({.store = &server_.store(), .names = &names, .epoch = 7},
                               LocalOperator(), std::nullopt, request);
  ASSERT_TRUE(feed.ok()) << feed.status();
  PutBlocks(3);
  v1::CacheEvent event;
  ASSERT_TRUE(feed->Next(&event));
  EXPECT_EQ(event.stored().block_hashes_size(), 3);
  Forget();
  ASSERT_TRUE(feed->Next(&event));
  EXPECT_EQ(event.lost().next_sequence(), server_.store().next_event() - kRemembered);
  uint64_t last = event.sequence();
  while (feed->Next(&event)) {
    EXPECT_FALSE(event.has_lost());
    EXPECT_GT(event.sequence(), std::exchange(last, event.sequence()));
  }
  EXPECT_EQ(last + 1, server_.store().next_event());
}

TEST_F(CacheServiceTest, WatchEndsWithTheServer) {
  PutBlocks(1);
  v1::WatchRequest request;
  request.set_from_sequence(1);
  const absl::Status status =
      client_.Watch(request, kTestTimeout, [&](const v1::CacheEvent& event) {
        server_.server().Shutdown(absl::Now() + absl::Seconds(10));
        return true;
      });
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
}

}  // namespace
}  // namespace reprise::api
