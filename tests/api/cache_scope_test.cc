// Cache calls beyond put and get of a few blocks: external keys, invalidation, RAM that is scarce.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "api/limits.h"
#include "tests/api/cache_service_fixture.h"

namespace reprise::api {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST_F(CacheServiceTest, BlocksAreNamedByKeysThatTheClientBrings) {
  v1::NamespaceIdentity identity = TestIdentity();
  identity.set_key_source(v1::KEY_SOURCE_EXTERNAL);
  const auto opened = client_.OpenNamespace(identity, kTestTimeout);
  ASSERT_TRUE(opened.ok()) << opened.status();
  const uint32_t ns = opened->namespace_id();
  EXPECT_NE(ns, ns_);
  std::vector<cachestore::ExternalKey> keys(3);
  for (uint32_t i = 0; i < 3; ++i) keys[i].words = {i, 1, 2, 3, 4, 5, 6, 7};
  payloads_ = TestPayloads(3, block_bytes_);
  const auto block = [&](size_t i) {
    return PutBlock{absl::MakeConstSpan(keys).subspan(i, 1), payloads_[i]};
  };
  auto put = client_.Put(ns, {}, {block(0), block(1)}, kTestTimeout);
  ASSERT_TRUE(put.ok()) << put.status();
  EXPECT_EQ(put->stored_blocks(), 2);
  put = client_.Put(ns, absl::MakeConstSpan(keys).first(2), {block(2)}, kTestTimeout);
  ASSERT_TRUE(put.ok()) << put.status();
  EXPECT_EQ(put->stored_blocks(), 1);
  const auto match = client_.Match(ns, keys, kTestTimeout);
  ASSERT_TRUE(match.ok()) << match.status();
  EXPECT_EQ(match->ram_blocks(), 3);
  EXPECT_EQ(match->matched_tokens(), 3 * kTestBlockTokens);
  size_t next = 1;
  const auto got = client_.Get(ns, keys, 1, kTestTimeout, [&](const v1::GetResponse& message) {
    EXPECT_EQ(message.payload(), payloads_[next++]);
  });
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(*got, 2);
  // A message whose keys are not one a block says nothing of any of them.
  v1::PutRequest uneven;
  uneven.set_namespace_id(ns);
  uneven.set_independent_keys(true);
  uneven.set_external_key(std::string(32, 'a'));
  uneven.set_payload(payloads_[0] + payloads_[1]);
  uneven.set_payload_xxh3(Checksum(payloads_[0]));
  uneven.add_more_xxh3(Checksum(payloads_[1]));
  v1::PutResponse response;
  ASSERT_TRUE(PutOne(uneven, &response).ok());
  EXPECT_EQ(response.stored_blocks(), 0);
  uneven.add_more_external_keys(std::string(32, 'b'));
  ASSERT_TRUE(PutOne(uneven, &response).ok());
  EXPECT_EQ(response.stored_blocks(), 2) << response.reject_reason();
  // What names blocks in one namespace does not in the other.
  EXPECT_EQ(client_.Match(ns_, keys, kTestTimeout).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(client_.Match(ns, TestTokens(1), kTestTimeout).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(CacheServiceTest, InvalidateTakesWhatItsScopeNames) {
  PutBlocks(4);
  v1::InvalidateRequest request;
  EXPECT_EQ(client_.Invalidate(request, kTestTimeout).status().code(),
            absl::StatusCode::kInvalidArgument);
  request.set_all(false);
  EXPECT_EQ(client_.Invalidate(request, kTestTimeout).status().code(),
            absl::StatusCode::kInvalidArgument);
  request.set_tenant("nobody");
  ASSERT_TRUE(client_.Invalidate(request, kTestTimeout).ok());
  EXPECT_EQ(MatchedBlocks(tokens_), 4);
  v1::BlockPrefix& prefix = *request.mutable_prefix();
  prefix.set_namespace_id(ns_);
  EXPECT_EQ(client_.Invalidate(request, kTestTimeout).status().code(),
            absl::StatusCode::kInvalidArgument);
  // Three full blocks and a part of the fourth.
  prefix.mutable_token_ids()->Assign(tokens_.begin(), tokens_.begin() + 3 * kTestBlockTokens + 1);
  ASSERT_TRUE(server_.store().Demote().ok());
  auto taken = client_.Invalidate(request, kTestTimeout);
  ASSERT_TRUE(taken.ok()) << taken.status();
  EXPECT_EQ(taken->disk_blocks(), 2);
  EXPECT_EQ(MatchedBlocks(tokens_), 2);
  request.set_namespace_id(ns_);
  ASSERT_TRUE(client_.Invalidate(request, kTestTimeout).ok());
  EXPECT_EQ(MatchedBlocks(tokens_), 0);
  EXPECT_EQ(server_.store().stats().disk_blocks, 0);
  PutBlocks(2);
  request.set_all(true);
  taken = client_.Invalidate(request, kTestTimeout);
  ASSERT_TRUE(taken.ok()) << taken.status();
  EXPECT_EQ(taken->ram_blocks(), 2);
  EXPECT_EQ(MatchedBlocks(tokens_), 0);
}

// Without a disk tier, and with RAM for few blocks.
class SmallCacheServiceTest : public CacheServiceTest {
 protected:
  SmallCacheServiceTest()
      : CacheServiceTest({.ram_bytes = 1 << 20, .disk_bytes = 0, .max_positions = 0}) {}
};

TEST_F(SmallCacheServiceTest, DemoteNeedsADiskTier) {
  EXPECT_EQ(client_.Demote(kTestTimeout).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(SmallCacheServiceTest, ARunThatDoesNotFitIsCutAndCounted) {
  const int64_t capacity = (1 << 20) / 4096;  // a slot is 4 KiB at least
  const v1::PutResponse put = PutBlocks(capacity + 2);
  EXPECT_EQ(put.stored_blocks(), capacity);
  EXPECT_EQ(put.rejected_blocks(), 1);
  EXPECT_THAT(put.reject_reason(), HasSubstr(absl::StrCat("block ", capacity)));
  EXPECT_EQ(MatchedBlocks(tokens_), capacity);
  EXPECT_LE(server_.store().stats().ram_used_bytes, 1 << 20);
}

// RAM for 16 blocks, and a disk tier.
class ScarceRamTest : public CacheServiceTest {
 protected:
  ScarceRamTest()
      : CacheServiceTest({.ram_bytes = 16 * 4096, .disk_bytes = 64 << 20, .max_positions = 0}) {}

  // Puts the blocks from `done` on, again behind those that a slow disk left room for; how many
  // there are then.
  static int64_t PutAll(CacheClient& client, uint32_t ns, const std::vector<uint32_t>& tokens,
                        const std::vector<std::string>& payloads, int64_t done) {
    const auto blocks = static_cast<int64_t>(payloads.size());
    const absl::Time deadline = absl::Now() + kTestTimeout;
    while (done < blocks && absl::Now() < deadline && !HasFailure()) {
      const absl::Time asked = absl::Now();
      const auto put = client.Put(
          ns, absl::MakeConstSpan(tokens).first(static_cast<size_t>(done * kTestBlockTokens)),
          TestBlocks(tokens, payloads, done), kTestTimeout);
      if (put.ok()) {
        done += put->stored_blocks();
        EXPECT_TRUE(done == blocks || absl::Now() - asked >= kMaxRoomWait) << put->reject_reason();
      } else {  // the prefix found no room
        EXPECT_TRUE(absl::IsResourceExhausted(put.status())) << put.status();
        EXPECT_GE(absl::Now() - asked, kRoomPatience);
      }
    }
    return done;
  }
  // GetAndCompare, up to the last, again from where a slow disk left no room.
  std::map<std::string, int> GetAll(int64_t next) {
    const auto blocks = static_cast<int64_t>(payloads_.size());
    const absl::Time deadline = absl::Now() + kTestTimeout;
    std::map<std::string, int> all;
    while (next < blocks && absl::Now() < deadline && !HasFailure()) {
      const absl::Time asked = absl::Now();
      for (const auto& [tier, got] : GetAndCompare(next)) {
        all[tier] += got;
        next += got;
      }
      EXPECT_TRUE(next == blocks || absl::Now() - asked >= kRoomPatience) << next;
    }
    return all;
  }

  // How long the store lets a load wait for room.
  static constexpr absl::Duration kRoomPatience = absl::Milliseconds(500);
};

// A client that waits for room may find that another one was faster, time and again.
TEST_F(ScarceRamTest, APrefixLongerThanRamIsPutContinuedAndGot) {
  constexpr int64_t kBlocks = 100;
  tokens_ = TestTokens(kBlocks);
  payloads_ = TestPayloads(kBlocks, block_bytes_);
  ASSERT_EQ(PutAll(client_, ns_, tokens_, payloads_, 0), kBlocks);
  EXPECT_EQ(MatchedBlocks(tokens_), kBlocks);
  std::map<std::string, int> tiers = GetAll(0);
  EXPECT_EQ(tiers["disk"] + tiers["ram"], kBlocks);
  EXPECT_GE(tiers["disk"], kBlocks - 16);
  tiers = GetAll(kBlocks - 3);
  EXPECT_EQ(tiers["disk"] + tiers["ram"], 3);
  // One more block behind all of them.
  tokens_ = TestTokens(kBlocks + 1);
  payloads_ = TestPayloads(kBlocks + 1, block_bytes_);
  EXPECT_EQ(PutAll(client_, ns_, tokens_, payloads_, kBlocks), kBlocks + 1);
  EXPECT_EQ(MatchedBlocks(tokens_), kBlocks + 1);
}

TEST_F(ScarceRamTest, ManyClientsThatWantTheSameRoomAllGetSome) {
  constexpr int kClients = 8;
  static constexpr int64_t kBlocks = 64;
  std::vector<std::thread> threads;
  for (int c = 0; c < kClients; ++c) {
    threads.emplace_back([this, c] {
      CacheClient client(server_.address());
      v1::NamespaceIdentity identity = TestIdentity();
      identity.set_tenant(absl::StrCat("tenant-", c));
      const auto ns = client.OpenNamespace(identity, kTestTimeout);
      ASSERT_TRUE(ns.ok()) << ns.status();
      const std::vector<uint32_t> tokens = TestTokens(kBlocks);
      const std::vector<std::string> payloads = TestPayloads(kBlocks, ns->block_bytes());
      EXPECT_EQ(PutAll(client, ns->namespace_id(), tokens, payloads, 0), kBlocks);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(server_.store().stats().sealed_blocks, kBlocks * kClients);
  EXPECT_GT(server_.store().stats().disk_blocks, kBlocks * kClients - 16 - 1);
}

}  // namespace
}  // namespace reprise::api
