// CacheServiceTest: a server with a store and no model, and a client of another engine's namespace.
// Every test that uses it ends with an intact store and nothing pinned.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "api/limits.h"
#include "cachestore/base/hash.h"
#include "tests/api/test_server.h"

namespace reprise::api {

inline uint64_t Checksum(const std::string& payload) {
  return cachestore::HashBytes64(
      absl::MakeConstSpan(reinterpret_cast<const std::byte*>(payload.data()), payload.size()));
}

class CacheServiceTest : public ::testing::Test {
 protected:
  CacheServiceTest() : CacheServiceTest(TestServer::Options{.max_positions = 0}) {}
  explicit CacheServiceTest(const TestServer::Options& options)
      : server_(options), client_(server_.address()) {
    Open();
  }
  ~CacheServiceTest() override {
    server_.server().Shutdown(absl::Now());  // blocks are pinned until gRPC has sent them
    const absl::Status intact = server_.store().CheckIntegrity();
    EXPECT_TRUE(intact.ok()) << intact;
    EXPECT_EQ(server_.store().stats().pinned_blocks, 0);
    EXPECT_EQ(server_.store().stats().writing_blocks, 0);
  }

  void Open() {
    auto opened = client_.OpenNamespace(TestIdentity(), kTestTimeout);
    // The first call after a restart may still go to the server that has ended.
    for (int i = 0; i < 10 && absl::IsUnavailable(opened.status()); ++i) {
      opened = client_.OpenNamespace(TestIdentity(), kTestTimeout);
    }
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

}  // namespace reprise::api
