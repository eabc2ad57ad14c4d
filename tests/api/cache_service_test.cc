#include "api/cache_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "api/limits.h"
#include "cachestore/base/hash.h"
#include "tests/api/test_server.h"

namespace reprise::api {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

uint64_t Checksum(const std::string& payload) {
  return cachestore::HashBytes64(
      absl::MakeConstSpan(reinterpret_cast<const std::byte*>(payload.data()), payload.size()));
}

// A server with a store and no model, and a client of another engine's namespace.
class CacheServiceTest : public ::testing::Test {
 protected:
  CacheServiceTest() : CacheServiceTest(TestServer::Options{.max_positions = 0}) {}
  explicit CacheServiceTest(const TestServer::Options& options)
      : server_(options), client_(server_.address()) {
    Open();
  }
  ~CacheServiceTest() override {
    const absl::Status intact = server_.store().CheckIntegrity();
    EXPECT_TRUE(intact.ok()) << intact;
    EXPECT_EQ(server_.store().stats().pinned_blocks, 0);
    EXPECT_EQ(server_.store().stats().writing_blocks, 0);
  }

  void Open() {
    const auto opened = client_.OpenNamespace(TestIdentity(), kTestTimeout);
    ASSERT_TRUE(opened.ok()) << opened.status();
    ns_ = opened->namespace_id();
    block_bytes_ = opened->block_bytes();
  }

  v1::PutResponse PutBlocks(int64_t num_blocks) {
    tokens_ = TestTokens(num_blocks);
    payloads_ = TestPayloads(num_blocks, block_bytes_);
    const auto put = client_.Put(ns_, {}, TestBlocks(tokens_, payloads_, 0), kTestTimeout);
    EXPECT_TRUE(put.ok()) << put.status();
    return put.value_or(v1::PutResponse());
  }

  // Reads all blocks of tokens_ from `first_block` on and compares them with what was put; returns
  // how many came from each tier.
  std::map<std::string, int> GetAndCompare(int64_t first_block) {
    std::map<std::string, int> tiers;
    int64_t next = first_block;
    const auto got =
        client_.Get(ns_, tokens_, first_block, kTestTimeout, [&](const v1::GetResponse& block) {
          EXPECT_EQ(block.block_index(), next++);
          EXPECT_EQ(block.payload(), payloads_[static_cast<size_t>(block.block_index())]);
          ++tiers[block.tier()];
        });
    EXPECT_TRUE(got.ok()) << got.status();
    return tiers;
  }

  // Sends one message by hand.
  grpc::Status PutOne(const v1::PutRequest& request, v1::PutResponse* response) {
    const auto stub = v1::Cache::NewStub(ConnectTo(server_.address()));
    grpc::ClientContext context;
    SetTimeout(kTestTimeout, &context);
    const auto writer = stub->Put(&context, response);
    writer->Write(request);
    writer->WritesDone();
    return writer->Finish();
  }

  v1::PutRequest GoodRequest() {
    v1::PutRequest request;
    request.set_namespace_id(ns_);
    const std::vector<uint32_t> tokens = TestTokens(1);
    request.mutable_token_ids()->Assign(tokens.begin(), tokens.end());
    request.set_payload(TestPayloads(1, block_bytes_)[0]);
    request.set_payload_xxh3(Checksum(request.payload()));
    return request;
  }

  int64_t MatchedBlocks(const std::vector<uint32_t>& tokens) {
    const auto match = client_.Match(ns_, tokens, kTestTimeout);
    EXPECT_TRUE(match.ok()) << match.status();
    return match.ok() ? match->ram_blocks() + match->disk_blocks() : -1;
  }

  TestServer server_;
  CacheClient client_;
  uint32_t ns_ = 0;
  int64_t block_bytes_ = 0;
  std::vector<uint32_t> tokens_;
  std::vector<std::string> payloads_;
};

TEST_F(CacheServiceTest, EqualIdentitiesOpenTheSameNamespaceOthersAnother) {
  EXPECT_EQ(block_bytes_, 512);
  EXPECT_EQ(client_.OpenNamespace(TestIdentity(), kTestTimeout)->namespace_id(), ns_);
  v1::NamespaceIdentity other = TestIdentity();
  other.set_tenant("alice");
  EXPECT_NE(client_.OpenNamespace(other, kTestTimeout)->namespace_id(), ns_);
}

TEST_F(CacheServiceTest, KnownNamespacesAreOpenedAlsoWhenNoMoreMayBe) {
  v1::NamespaceIdentity identity = TestIdentity();
  for (int64_t i = 1; i < kMaxOpenNamespaces; ++i) {
    identity.set_salt(absl::StrCat(i));
    ASSERT_TRUE(client_.OpenNamespace(identity, kTestTimeout).ok()) << i;
  }
  identity.set_salt("one too many");
  EXPECT_EQ(client_.OpenNamespace(identity, kTestTimeout).status().code(),
            absl::StatusCode::kResourceExhausted);
  const auto known = client_.OpenNamespace(TestIdentity(), kTestTimeout);
  ASSERT_TRUE(known.ok()) << known.status();
  EXPECT_EQ(known->namespace_id(), ns_);
}

TEST_F(CacheServiceTest, AnotherHashSchemeIsRefusedWithBothNames) {
  const auto stub = v1::Cache::NewStub(ConnectTo(server_.address()));
  v1::OpenNamespaceRequest request;
  *request.mutable_identity() = TestIdentity();
  request.set_hash_scheme("sha256-v9");
  grpc::ClientContext context;
  v1::OpenNamespaceResponse response;
  const grpc::Status status = stub->OpenNamespace(&context, request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(status.error_message(),
              AllOf(HasSubstr("sha256-v9"), HasSubstr("reprise-xxh3-128-v1")));
}

TEST_F(CacheServiceTest, ErrorsRepeatOnlyTheBeginningOfALongText) {
  const auto stub = v1::Cache::NewStub(ConnectTo(server_.address()));
  v1::OpenNamespaceRequest request;
  request.set_hash_scheme(std::string(1 << 20, 'x'));
  grpc::ClientContext context;
  v1::OpenNamespaceResponse response;
  const grpc::Status status = stub->OpenNamespace(&context, request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(status.error_message(),
              AllOf(HasSubstr(std::string(kMaxEchoBytes, 'x')), HasSubstr("reprise-xxh3-128-v1")));
  EXPECT_LT(status.error_message().size(), 200u);
}

TEST_F(CacheServiceTest, AnIncompleteIdentityIsRefused) {
  v1::NamespaceIdentity identity = TestIdentity();
  identity.clear_kv_scales();
  const auto opened = client_.OpenNamespace(identity, kTestTimeout);
  EXPECT_EQ(opened.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(opened.status().message()), HasSubstr("kv_scales"));
}

TEST_F(CacheServiceTest, WhatWasPutIsMatchedAndGot) {
  const v1::PutResponse put = PutBlocks(5);
  EXPECT_EQ(put.stored_blocks(), 5);
  EXPECT_EQ(put.rejected_blocks(), 0);
  EXPECT_EQ(put.reject_reason(), "");
  std::vector<uint32_t> longer = tokens_;
  longer.resize(longer.size() + 3 * kTestBlockTokens + 1, 7);
  const auto match = client_.Match(ns_, longer, kTestTimeout);
  ASSERT_TRUE(match.ok()) << match.status();
  EXPECT_EQ(match->ram_blocks(), 5);
  EXPECT_EQ(match->disk_blocks(), 0);
  EXPECT_EQ(match->matched_tokens(), 5 * kTestBlockTokens);
  EXPECT_EQ(GetAndCompare(0)["ram"], 5);
  EXPECT_EQ(GetAndCompare(3)["ram"], 2);
  EXPECT_TRUE(GetAndCompare(5).empty());
}

TEST_F(CacheServiceTest, AnotherNamespaceSeesNothing) {
  PutBlocks(2);
  v1::NamespaceIdentity other = TestIdentity();
  other.set_salt("another");
  const auto opened = client_.OpenNamespace(other, kTestTimeout);
  ASSERT_TRUE(opened.ok());
  const auto match = client_.Match(opened->namespace_id(), tokens_, kTestTimeout);
  ASSERT_TRUE(match.ok());
  EXPECT_EQ(match->matched_tokens(), 0);
  EXPECT_EQ(MatchedBlocks(tokens_), 2);
}

TEST_F(CacheServiceTest, APrefixThatIsStoredCanBeContinued) {
  PutBlocks(2);
  tokens_ = TestTokens(4);
  payloads_ = TestPayloads(4, block_bytes_);
  const auto put = client_.Put(ns_, absl::MakeConstSpan(tokens_).first(2 * kTestBlockTokens),
                               TestBlocks(tokens_, payloads_, 2), kTestTimeout);
  ASSERT_TRUE(put.ok()) << put.status();
  EXPECT_EQ(put->stored_blocks(), 2);
  EXPECT_EQ(GetAndCompare(0)["ram"], 4);
}

TEST_F(CacheServiceTest, APrefixThatIsNotStoredIsRefusedWithBothCounts) {
  PutBlocks(2);
  tokens_ = TestTokens(4);
  payloads_ = TestPayloads(4, block_bytes_);
  const auto put = client_.Put(ns_, absl::MakeConstSpan(tokens_).first(3 * kTestBlockTokens),
                               TestBlocks(tokens_, payloads_, 3), kTestTimeout);
  EXPECT_EQ(put.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(put.status().message()),
              AllOf(HasSubstr("3 blocks"), HasSubstr("only 2")));
  const auto partial = client_.Put(ns_, absl::MakeConstSpan(tokens_).first(kTestBlockTokens + 1),
                                   TestBlocks(tokens_, payloads_, 1), kTestTimeout);
  EXPECT_EQ(partial.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(MatchedBlocks(tokens_), 2);
}

TEST_F(CacheServiceTest, APayloadThatDoesNotMatchItsChecksumIsNeverStored) {
  v1::PutRequest request = GoodRequest();
  (*request.mutable_payload())[100] ^= 1;
  v1::PutResponse response;
  ASSERT_TRUE(PutOne(request, &response).ok());
  EXPECT_EQ(response.stored_blocks(), 0);
  EXPECT_EQ(response.rejected_blocks(), 1);
  EXPECT_THAT(response.reject_reason(), AllOf(HasSubstr("block 0"), HasSubstr("payload_xxh3")));
  EXPECT_EQ(MatchedBlocks(TestTokens(1)), 0);
  EXPECT_EQ(server_.store().stats().sealed_blocks, 0);
  EXPECT_EQ(server_.store().stats().ram_used_bytes, 0);
  // The same block with its true bytes is taken.
  ASSERT_TRUE(PutOne(GoodRequest(), &response).ok());
  EXPECT_EQ(response.stored_blocks(), 1);
}

TEST_F(CacheServiceTest, WrongSizesAreRejectedWithBothValues) {
  v1::PutRequest request = GoodRequest();
  request.mutable_payload()->pop_back();
  request.set_payload_xxh3(Checksum(request.payload()));
  v1::PutResponse response;
  ASSERT_TRUE(PutOne(request, &response).ok());
  EXPECT_THAT(response.reject_reason(), AllOf(HasSubstr("511"), HasSubstr("512")));
  request = GoodRequest();
  request.add_token_ids(1);
  ASSERT_TRUE(PutOne(request, &response).ok());
  EXPECT_THAT(response.reject_reason(), AllOf(HasSubstr("9 tokens"), HasSubstr("holds 8")));
  EXPECT_EQ(server_.store().stats().sealed_blocks, 0);
}

TEST_F(CacheServiceTest, ABadBlockEndsTheRunAndKeepsTheBlocksBeforeIt) {
  tokens_ = TestTokens(4);
  payloads_ = TestPayloads(4, block_bytes_);
  payloads_[2].push_back('x');
  const auto put = client_.Put(ns_, {}, TestBlocks(tokens_, payloads_, 0), kTestTimeout);
  ASSERT_TRUE(put.ok()) << put.status();
  EXPECT_EQ(put->stored_blocks(), 2);
  EXPECT_EQ(put->rejected_blocks(), 1);
  EXPECT_THAT(put->reject_reason(), HasSubstr("block 2"));
  EXPECT_EQ(MatchedBlocks(tokens_), 2);
}

TEST_F(CacheServiceTest, NamespacesThatNobodyOpenedAreNotFound) {
  for (const uint32_t id : {uint32_t{0}, ns_ + 1, uint32_t{4000000000}}) {
    EXPECT_EQ(client_.Match(id, TestTokens(1), kTestTimeout).status().code(),
              absl::StatusCode::kNotFound);
    EXPECT_EQ(client_.Get(id, TestTokens(1), 0, kTestTimeout, [](const v1::GetResponse&) {})
                  .status()
                  .code(),
              absl::StatusCode::kNotFound);
    const auto tokens = TestTokens(1);
    const auto payloads = TestPayloads(1, block_bytes_);
    EXPECT_EQ(client_.Put(id, {}, TestBlocks(tokens, payloads, 0), kTestTimeout).status().code(),
              absl::StatusCode::kNotFound);
  }
}

TEST_F(CacheServiceTest, APutWithoutMessagesIsRefused) {
  EXPECT_EQ(client_.Put(ns_, {}, {}, kTestTimeout).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(CacheServiceTest, TooManyTokensAndNegativePositionsAreRefused) {
  const std::vector<uint32_t> tokens(static_cast<size_t>(kMaxRequestTokens) + 1, 1);
  EXPECT_EQ(client_.Match(ns_, tokens, kTestTimeout).status().code(),
            absl::StatusCode::kInvalidArgument);
  const auto get = client_.Get(ns_, TestTokens(1), -1, kTestTimeout, [](const v1::GetResponse&) {});
  EXPECT_EQ(get.status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(CacheServiceTest, MessagesOverTheLimitAreRefusedBeforeTheyAreRead) {
  v1::PutRequest request = GoodRequest();
  request.set_payload(std::string(static_cast<size_t>(kMaxMessageBytes) + 1, 'x'));
  v1::PutResponse response;
  EXPECT_EQ(PutOne(request, &response).error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(server_.store().stats().sealed_blocks, 0);
}

TEST_F(CacheServiceTest, DemotedBlocksComeFromDiskAndThenFromRam) {
  PutBlocks(6);
  EXPECT_EQ(*client_.Demote(kTestTimeout), 6);
  const auto match = client_.Match(ns_, tokens_, kTestTimeout);
  EXPECT_EQ(match->ram_blocks(), 0);
  EXPECT_EQ(match->disk_blocks(), 6);
  EXPECT_EQ(GetAndCompare(0), (std::map<std::string, int>{{"disk", 6}}));
  EXPECT_EQ(GetAndCompare(0), (std::map<std::string, int>{{"ram", 6}}));
}

TEST_F(CacheServiceTest, OneGetNamesTheTierOfEachBlock) {
  PutBlocks(3);
  client_.Demote(kTestTimeout).IgnoreError();
  tokens_ = TestTokens(5);
  payloads_ = TestPayloads(5, block_bytes_);
  // Brings the first two back into RAM.
  const auto leading = absl::MakeConstSpan(tokens_).first(2 * kTestBlockTokens);
  ASSERT_EQ(*client_.Get(ns_, leading, 0, kTestTimeout, [](const v1::GetResponse&) {}), 2);
  EXPECT_EQ(GetAndCompare(0), (std::map<std::string, int>{{"ram", 2}, {"disk", 1}}));
}

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

TEST_F(CacheServiceTest, BlocksAreMatchedAfterARestart) {
  PutBlocks(4);
  ASSERT_TRUE(client_.Demote(kTestTimeout).ok());
  server_.Restart();
  // Ids are of one process; the identity finds the blocks again.
  Open();
  EXPECT_EQ(MatchedBlocks(tokens_), 4);
  EXPECT_EQ(GetAndCompare(0)["disk"], 4);
  EXPECT_EQ(server_.store().stats().recovered_blocks, 4);
}

TEST_F(CacheServiceTest, StatsCarryEveryFieldByName) {
  PutBlocks(4);
  GetAndCompare(0);
  const auto stats = client_.Stats(kTestTimeout);
  ASSERT_TRUE(stats.ok()) << stats.status();
  EXPECT_EQ(stats->store().at("sealed_blocks"), 4);
  EXPECT_EQ(stats->store().at("ram_blocks"), 4);
  EXPECT_EQ(stats->store().at("hit_ram_tokens"), 4 * kTestBlockTokens);
  EXPECT_EQ(stats->store().at("ram_capacity_bytes"), 16 << 20);
  EXPECT_EQ(stats->store().size(), sizeof(cachestore::StoreStats) / sizeof(int64_t) + 1);
  EXPECT_TRUE(stats->engine().empty());
}

TEST_F(CacheServiceTest, ManyClientsPutAndGetAtOnce) {
  constexpr int kClients = 8;
  std::vector<std::thread> threads;
  for (int c = 0; c < kClients; ++c) {
    threads.emplace_back([this, c] {
      CacheClient client(server_.address());
      v1::NamespaceIdentity identity = TestIdentity();
      identity.set_tenant(absl::StrCat("tenant-", c));
      const auto ns = client.OpenNamespace(identity, kTestTimeout);
      ASSERT_TRUE(ns.ok()) << ns.status();
      const std::vector<uint32_t> tokens = TestTokens(20);
      const std::vector<std::string> payloads = TestPayloads(20, ns->block_bytes());
      const auto put =
          client.Put(ns->namespace_id(), {}, TestBlocks(tokens, payloads, 0), kTestTimeout);
      ASSERT_TRUE(put.ok()) << put.status();
      EXPECT_EQ(put->stored_blocks(), 20) << put->reject_reason();
      const auto got = client.Get(
          ns->namespace_id(), tokens, 0, kTestTimeout, [&payloads](const v1::GetResponse& block) {
            EXPECT_EQ(block.payload(), payloads[static_cast<size_t>(block.block_index())]);
          });
      ASSERT_TRUE(got.ok()) << got.status();
      EXPECT_EQ(*got, 20);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(server_.store().stats().sealed_blocks, 20 * kClients);
}

TEST_F(CacheServiceTest, MoreCallsThanThreadsAreRefusedUntilSomeEnd) {
  const auto stub = v1::Cache::NewStub(ConnectTo(server_.address()));
  v1::PutResponse response;
  // Calls that send nothing and so do not end.
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<std::unique_ptr<grpc::ClientWriter<v1::PutRequest>>> calls;
  for (int i = 0; i < kMaxCacheCalls + 8; ++i) {
    contexts.push_back(std::make_unique<grpc::ClientContext>());
    SetTimeout(kTestTimeout, contexts.back().get());
    calls.push_back(stub->Put(contexts.back().get(), &response));
  }
  const absl::Time deadline = absl::Now() + kTestTimeout;
  absl::Status status;
  while (status.ok() && absl::Now() < deadline) status = client_.Stats(kTestTimeout).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  for (size_t i = 0; i < calls.size(); ++i) {
    contexts[i]->TryCancel();
    calls[i]->Finish();
  }
  while (!status.ok() && absl::Now() < deadline) status = client_.Stats(kTestTimeout).status();
  EXPECT_TRUE(status.ok()) << status;
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
};

// A client that waits for room may find that another one was faster, time and again.
TEST_F(ScarceRamTest, APrefixLongerThanRamIsPutContinuedAndGot) {
  constexpr int64_t kBlocks = 100;
  PutBlocks(kBlocks);
  EXPECT_EQ(MatchedBlocks(tokens_), kBlocks);
  std::map<std::string, int> tiers = GetAndCompare(0);
  EXPECT_EQ(tiers["disk"] + tiers["ram"], kBlocks);
  EXPECT_GE(tiers["disk"], kBlocks - 16);
  tiers = GetAndCompare(kBlocks - 3);
  EXPECT_EQ(tiers["disk"] + tiers["ram"], 3);
  // One more block behind all of them.
  tokens_ = TestTokens(kBlocks + 1);
  payloads_ = TestPayloads(kBlocks + 1, block_bytes_);
  const auto put = client_.Put(ns_, absl::MakeConstSpan(tokens_).first(kBlocks * kTestBlockTokens),
                               TestBlocks(tokens_, payloads_, kBlocks), kTestTimeout);
  ASSERT_TRUE(put.ok()) << put.status();
  EXPECT_EQ(put->stored_blocks(), 1);
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
      const auto put =
          client.Put(ns->namespace_id(), {}, TestBlocks(tokens, payloads, 0), kTestTimeout);
      ASSERT_TRUE(put.ok()) << put.status();
      EXPECT_EQ(put->stored_blocks(), kBlocks) << put->reject_reason();
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(server_.store().stats().sealed_blocks, kBlocks * kClients);
  EXPECT_GT(server_.store().stats().disk_blocks, kBlocks * kClients - 16 - 1);
}

}  // namespace
}  // namespace reprise::api
