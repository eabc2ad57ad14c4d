#include "api/cache_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "api/limits.h"
#include "tests/api/cache_service_fixture.h"

namespace reprise::api {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
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

TEST_F(CacheServiceTest, BlocksComeIntoTheCallersMemoryOverSeveralConnections) {
  CacheClient client(server_.address(), {}, /*num_connections=*/3);
  tokens_ = TestTokens(5);
  payloads_ = TestPayloads(5, block_bytes_);
  v1::GetRequest request;
  request.set_namespace_id(ns_);
  request.mutable_token_ids()->Assign(tokens_.begin(), tokens_.end());
  for (int turn = 0; turn < 6; ++turn) {
    // What is put may change as soon as Put has returned.
    std::vector<std::string> lent = payloads_;
    const auto put = client.Put(ns_, {}, TestBlocks(tokens_, lent, 0), kTestTimeout);
    ASSERT_TRUE(put.ok()) << put.status();
    EXPECT_EQ(put->stored_blocks(), 5);
    for (std::string& payload : lent) payload.assign(payload.size(), 'x');
    std::vector<std::string> got(5, std::string(static_cast<size_t>(block_bytes_), 0));
    const auto count = client.GetInto(request, kTestTimeout, [&](int64_t index, size_t bytes) {
      EXPECT_EQ(bytes, static_cast<size_t>(block_bytes_));
      return reinterpret_cast<std::byte*>(got[static_cast<size_t>(index)].data());
    });
    ASSERT_TRUE(count.ok()) << count.status();
    EXPECT_EQ(*count, 5);
    EXPECT_EQ(got, payloads_);
  }
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

TEST_F(CacheServiceTest, AMessageCarriesAsManyBlocksAsItsReaderAllows) {
  PutBlocks(7);
  const auto stub = v1::Cache::NewStub(ConnectTo(server_.address()));
  // Blocks of each message.
  const auto get = [&](int64_t max_message_bytes) {
    grpc::ClientContext context;
    SetTimeout(kTestTimeout, &context);
    v1::GetRequest request;
    request.set_namespace_id(ns_);
    request.mutable_token_ids()->Assign(tokens_.begin(), tokens_.end());
    request.set_max_message_bytes(max_message_bytes);
    const auto reader = stub->Get(&context, request);
    std::vector<int> blocks;
    size_t next = 0;
    for (v1::GetResponse message; reader->Read(&message);) {
      EXPECT_EQ(message.block_index(), static_cast<int64_t>(next));
      std::string expected;
      for (int i = 0; i <= message.more_xxh3_size(); ++i) {
        expected += payloads_[next];
        EXPECT_EQ(i == 0 ? message.payload_xxh3() : message.more_xxh3(i - 1),
                  Checksum(payloads_[next++]));
      }
      EXPECT_EQ(message.payload(), expected);
      blocks.push_back(1 + message.more_xxh3_size());
    }
    EXPECT_TRUE(reader->Finish().ok());
    return blocks;
  };
  EXPECT_EQ(get(0), std::vector<int>(7, 1)) << "a client that does not know of it";
  EXPECT_EQ(get(-1), std::vector<int>(7, 1));
  EXPECT_EQ(get(2 * block_bytes_), (std::vector<int>{1, 2, 2, 2}));
  EXPECT_EQ(get(int64_t{1} << 40), (std::vector<int>{1, 2, 4})) << "the batches of the reader";
}

TEST_F(CacheServiceTest, BlocksThatComeInOneMessageAreStoredAsThoseOfSeveral) {
  const std::vector<uint32_t> tokens = TestTokens(3);
  const std::vector<std::string> payloads = TestPayloads(3, block_bytes_);
  v1::PutRequest request = GoodRequest();
  request.mutable_token_ids()->Assign(tokens.begin(), tokens.end());
  for (size_t i = 1; i < 3; ++i) {
    request.mutable_payload()->append(payloads[i]);
    request.add_more_xxh3(Checksum(payloads[i]));
  }
  // Counts that do not agree: which bytes would be whose?
  for (const bool more : {true, false}) {
    v1::PutRequest wrong = request;
    if (more) wrong.add_more_xxh3(1);
    if (!more) wrong.mutable_more_xxh3()->RemoveLast();
    v1::PutResponse response;
    ASSERT_TRUE(PutOne(wrong, &response).ok());
    EXPECT_EQ(response.stored_blocks(), 0);
    EXPECT_THAT(response.reject_reason(), AllOf(HasSubstr("checksums"), HasSubstr("1536 bytes")));
  }
  v1::PutRequest wrong = request;
  wrong.add_more_external_keys(std::string(32, 'k'));
  v1::PutResponse response;
  ASSERT_TRUE(PutOne(wrong, &response).ok());
  EXPECT_EQ(response.stored_blocks(), 0);
  EXPECT_EQ(server_.store().stats().sealed_blocks, 0);
  // A bad one ends the run behind those before it.
  wrong = request;
  wrong.set_more_xxh3(1, 1);
  ASSERT_TRUE(PutOne(wrong, &response).ok());
  EXPECT_EQ(response.stored_blocks(), 2);
  EXPECT_THAT(response.reject_reason(), AllOf(HasSubstr("block 2"), HasSubstr("payload_xxh3")));
  ASSERT_TRUE(PutOne(request, &response).ok());
  EXPECT_EQ(response.stored_blocks(), 3);
  ASSERT_EQ(response.results_size(), 3);
  EXPECT_EQ(response.results(1).outcome(), v1::PUT_OUTCOME_EXISTED);
  EXPECT_EQ(response.results(2).outcome(), v1::PUT_OUTCOME_STORED);
  tokens_ = tokens;
  payloads_ = payloads;
  EXPECT_EQ(GetAndCompare(0)["ram"], 3);
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

TEST_F(CacheServiceTest, AClientsIdsStayGoodWhenTheServerIsStartedAnew) {
  PutBlocks(4);
  const auto ignore = [](const v1::GetResponse&) {};
  v1::ExportRequest file;
  file.mutable_prefix()->set_namespace_id(ns_);
  file.mutable_prefix()->mutable_token_ids()->Assign(tokens_.begin(), tokens_.end());
  v1::ListRequest list;
  list.set_namespace_id(ns_);
  v1::InvalidateRequest all;
  all.set_namespace_id(ns_);
  const auto matched = [&](absl::StatusOr<v1::MatchResponse> match) {
    return match.ok() ? match->matched_tokens() / kTestBlockTokens
                      : -static_cast<int64_t>(match.status().code());
  };
  // Each the first call about the namespace that its server sees, and what it comes to.
  const std::pair<const char*, std::function<int64_t()>> calls[] = {
      {"Match", [&] { return matched(client_.Match(ns_, tokens_, kTestTimeout)); }},
      {"Touch", [&] { return client_.Touch(ns_, tokens_, kTestTimeout).value_or(-1); }},
      {"Get", [&] { return client_.Get(ns_, tokens_, 0, kTestTimeout, ignore).value_or(-1); }},
      {"Put", [&] { return int64_t{PutBlocks(4).stored_blocks()}; }},
      {"Explain",
       [&] { return int64_t{client_.Explain(ns_, tokens_, kTestTimeout)->blocks_size()}; }},
      {"List", [&] { return int64_t{client_.List(list, kTestTimeout)->blocks_size()}; }},
      {"Export",
       [&] {
         int64_t bytes = 0;
         const auto count = [&bytes](absl::string_view piece) {
           bytes += static_cast<int64_t>(piece.size());
           return true;
         };
         EXPECT_TRUE(client_.Export(file, kTestTimeout, count).ok());
         return bytes > 4 * block_bytes_ ? 4 : bytes;
       }},
      {"Invalidate", [&] { return client_.Invalidate(all, kTestTimeout)->disk_blocks(); }},
  };
  for (const auto& [name, call] : calls) {
    ASSERT_TRUE(client_.Demote(kTestTimeout).ok());
    server_.Restart();
    // The first call after a restart may still go to the server that has ended.
    for (int i = 0; i < 10 && !client_.Stats(kTestTimeout).ok(); ++i) {
    }
    EXPECT_EQ(call(), 4) << name;
  }
  // What was not opened here is not opened for anybody.
  CacheClient other(server_.address());
  EXPECT_EQ(matched(other.Match(ns_, tokens_, kTestTimeout)),
            -static_cast<int64_t>(absl::StatusCode::kNotFound));
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
  // What comes behind the plain numbers, /metrics shows.
  EXPECT_EQ(stats->store().size(),
            offsetof(cachestore::StoreStats, removed_blocks) / sizeof(int64_t) + 1);
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

}  // namespace
}  // namespace reprise::api
