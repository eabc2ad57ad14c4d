// What a server shows of its cache: List, Usage, Explain, Touch and Watch, against a live one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>
#include <vector>

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
