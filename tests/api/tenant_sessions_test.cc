// Sessions and quotas of two tenants, against a live server with credentials.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "api/client/session.h"
#include "api/status_codec.h"
#include "tests/api/credentials_fixture.h"
#include "tests/api/test_server.h"

namespace reprise::api {
namespace {

constexpr int64_t kBlocks = 4;

// A client of one tenant: its session, and its namespace of the one model's blocks.
struct TenantClient {
  TenantClient(const TestServer& server, const std::string& token)
      : cache(server.address(), {.token = token}),
        stub(v1::Cache::NewStub(ConnectTo(server.address(), {.token = token}))) {
    v1::NamespaceIdentity identity = TestIdentity();
    identity.clear_tenant();
    const auto opened = cache.OpenNamespace(identity, kTestTimeout);
    EXPECT_TRUE(opened.ok()) << opened.status();
    ns = opened->namespace_id();
    block_bytes = opened->block_bytes();
    auto opened_session = CacheSession::Open(server.address(), {.access = {.token = token}});
    EXPECT_TRUE(opened_session.ok()) << opened_session.status();
    session = *std::move(opened_session);
  }

  CacheClient cache;
  std::unique_ptr<v1::Cache::Stub> stub;
  uint32_t ns = 0;
  int64_t block_bytes = 0;
  std::unique_ptr<CacheSession> session;
};

class TenantSessionsTest : public ::testing::Test {
 protected:
  void Put(TenantClient& client) {
    payloads_ = TestPayloads(kBlocks, client.block_bytes);
    const auto put =
        client.cache.Put(client.ns, {}, TestBlocks(tokens_, payloads_, 0), kTestTimeout);
    ASSERT_TRUE(put.ok()) << put.status();
  }
  Acquired Acquire(TenantClient& client) {
    auto acquired = client.session->Acquire(client.ns, tokens_, {}, kTestTimeout);
    EXPECT_TRUE(acquired.ok()) << acquired.status();
    return *std::move(acquired);
  }
  static v1::GetRequest GetOf(absl::string_view session_id, const std::string& lease_id) {
    v1::GetRequest request;
    request.set_session_id(std::string(session_id));
    request.set_lease_id(lease_id);
    return request;
  }

  TestCredentials file_;
  TestServer server_{TestServer::Options{
      .max_positions = 0, .guard = {.credentials_file = file_.path()}, .listen = "127.0.0.1:0"}};
  TenantClient alice_{server_, file_.alice};
  TenantClient bob_{server_, file_.bob};
  const std::vector<uint32_t> tokens_ = TestTokens(kBlocks);
  std::vector<std::string> payloads_;
};

// Paired: what the other has cached changes nothing for one, what it has cached itself does.
TEST_F(TenantSessionsTest, ATenantHoldsItsOwnBlocksOnly) {
  Put(alice_);
  EXPECT_EQ(Acquire(alice_).response.lease().num_blocks(), kBlocks);
  const Acquired nothing = Acquire(bob_);
  EXPECT_FALSE(nothing.lease);
  EXPECT_EQ(nothing.response.match().matched_tokens(), 0);
  Put(bob_);
  EXPECT_EQ(Acquire(bob_).response.lease().num_blocks(), kBlocks);
  EXPECT_EQ(bob_.session->Acquire(alice_.ns, tokens_, {}, kTestTimeout).status().code(),
            absl::StatusCode::kNotFound);
}

TEST_F(TenantSessionsTest, WhoKnowsTheIdOfAnothersSessionHasNoUseForIt) {
  Put(alice_);
  Put(bob_);
  const Acquired held = Acquire(alice_);
  const std::string session_id(alice_.session->id());
  v1::AcquireRequest acquire;
  acquire.set_session_id(session_id);
  acquire.set_namespace_id(bob_.ns);
  acquire.mutable_token_ids()->Assign(tokens_.begin(), tokens_.end());
  v1::RenewRequest renew;
  renew.set_session_id(session_id);
  v1::ReleaseRequest release;
  release.set_session_id(session_id);
  release.add_lease_ids(held.lease.id());
  v1::AcquireResponse acquired;
  v1::RenewResponse renewed;
  v1::ReleaseResponse released;
  grpc::ClientContext contexts[3];
  const absl::Status answers[] = {
      FromGrpc(bob_.stub->Acquire(&contexts[0], acquire, &acquired)),
      FromGrpc(bob_.stub->Renew(&contexts[1], renew, &renewed)),
      FromGrpc(bob_.stub->Release(&contexts[2], release, &released)),
      bob_.cache
          .Get(GetOf(session_id, held.lease.id()), kTestTimeout,
               [](const v1::GetResponse&) { ADD_FAILURE() << "another tenant's block"; })
          .status(),
  };
  for (const absl::Status& answer : answers) {
    EXPECT_EQ(answer.code(), absl::StatusCode::kNotFound) << answer;
  }
  // One that nobody has opened looks the same.
  const absl::Status never =
      bob_.cache.Get(GetOf("sixteen bytes...", held.lease.id()), kTestTimeout, [](const auto&) {})
          .status();
  EXPECT_EQ(never, answers[3]);
  // Its owner's lease has felt nothing.
  const auto got = alice_.cache.Get(
      GetOf(session_id, held.lease.id()), kTestTimeout, [&](const v1::GetResponse& block) {
        EXPECT_EQ(block.payload(), payloads_[static_cast<size_t>(block.block_index())]);
      });
  EXPECT_EQ(got.value_or(-1), kBlocks);
}

TEST_F(TenantSessionsTest, ASessionNeedsACredential) {
  EXPECT_EQ(CacheSession::Open(server_.address(), {}).status().code(),
            absl::StatusCode::kUnauthenticated);
}

// Two tenants with quotas that fit into RAM together, without a disk.
class QuotaTest : public ::testing::Test {
 protected:
  static constexpr int64_t kSlot = 4096;

  QuotaTest() { Limit(100, 100); }

  void Limit(int64_t alice_slots, int64_t bob_slots) {
    file_.Write("[tenants.alice]\nram-bytes = " + std::to_string(alice_slots * kSlot) +
                "\n[tenants.bob]\nram-bytes = " + std::to_string(bob_slots * kSlot) + "\n");
    if (server_.has_value()) {
      ASSERT_TRUE(server_->guard().Reload().ok());
    } else {
      server_.emplace(TestServer::Options{.ram_bytes = 256 * kSlot,
                                          .disk_bytes = 0,
                                          .max_positions = 0,
                                          .guard = {.credentials_file = file_.path()},
                                          .listen = "127.0.0.1:0"});
    }
  }

  uint32_t Open(CacheClient& client) {
    v1::NamespaceIdentity identity = TestIdentity();
    identity.clear_tenant();
    const auto opened = client.OpenNamespace(identity, kTestTimeout);
    EXPECT_TRUE(opened.ok()) << opened.status();
    EXPECT_LE(opened->block_bytes(), kSlot);
    block_bytes_ = opened->block_bytes();
    return opened->namespace_id();
  }
  // Prompt `number` of `num_blocks` blocks; prompts share nothing.
  std::vector<uint32_t> Tokens(uint32_t number, int64_t num_blocks) {
    std::vector<uint32_t> tokens = TestTokens(num_blocks);
    for (uint32_t& token : tokens) token += number << 16;
    return tokens;
  }
  absl::StatusOr<v1::PutResponse> Put(CacheClient& client, uint32_t ns,
                                      const std::vector<uint32_t>& tokens) {
    const auto num_blocks = static_cast<int64_t>(tokens.size()) / kTestBlockTokens;
    const std::vector<std::string> payloads = TestPayloads(num_blocks, block_bytes_);
    return client.Put(ns, {}, TestBlocks(tokens, payloads, 0), kTestTimeout);
  }
  int64_t Hits(CacheClient& client, uint32_t ns, const std::vector<uint32_t>& tokens) {
    const auto got = client.Get(ns, tokens, 0, kTestTimeout, [](const v1::GetResponse&) {});
    EXPECT_TRUE(got.ok()) << got.status();
    return got.value_or(-1);
  }
  v1::TenantUsage UsageOf(CacheClient& client) {
    const auto usage = client.Usage(/*all_tenants=*/false, kTestTimeout);
    EXPECT_TRUE(usage.ok()) << usage.status();
    EXPECT_EQ(usage->tenants_size(), 1);
    return usage->tenants(0);
  }

  TestCredentials file_;
  std::optional<TestServer> server_;
  int64_t block_bytes_ = 0;
};

TEST_F(QuotaTest, WhatOneTenantFloodsTheServerWithEvictsItsOwnBlocks) {
  CacheClient alice(server_->address(), {.token = file_.alice});
  CacheClient bob(server_->address(), {.token = file_.bob});
  const uint32_t of_alice = Open(alice);
  const uint32_t of_bob = Open(bob);
  constexpr int64_t kOfBob = 90;
  ASSERT_EQ(Put(bob, of_bob, Tokens(1, kOfBob))->stored_blocks(), kOfBob);
  for (uint32_t prompt = 0; prompt < 10; ++prompt) {
    ASSERT_EQ(Put(alice, of_alice, Tokens(prompt, 60))->stored_blocks(), 60);
  }
  EXPECT_EQ(server_->store().stats().dropped_blocks, 500) << "600 in 100 slots";
  EXPECT_EQ(Hits(bob, of_bob, Tokens(1, kOfBob)), kOfBob);
  EXPECT_EQ(Hits(alice, of_alice, Tokens(9, 60)), 60);
  const v1::TenantUsage usage = UsageOf(alice);
  ASSERT_EQ(usage.quotas_size(), 1);
  EXPECT_EQ(usage.quotas(0).tier(), "ram");
  EXPECT_EQ(usage.quotas(0).bytes(), 100 * kSlot);
  EXPECT_EQ(usage.tiers(0).bytes(), 100 * kSlot);
}

TEST_F(QuotaTest, AReloadChangesThemAndABlockThatCannotFitIsRefusedAtOnce) {
  CacheClient alice(server_->address(), {.token = file_.alice});
  CacheClient bob(server_->address(), {.token = file_.bob});
  const uint32_t of_alice = Open(alice);
  const uint32_t of_bob = Open(bob);
  ASSERT_TRUE(Put(alice, of_alice, Tokens(1, 50)).ok());
  ASSERT_TRUE(Put(bob, of_bob, Tokens(1, 50)).ok());
  Limit(10, 100);
  EXPECT_EQ(UsageOf(alice).tiers(0).bytes(), 10 * kSlot);
  EXPECT_EQ(Hits(alice, of_alice, Tokens(1, 50)), 10) << "from its end";
  EXPECT_EQ(Hits(bob, of_bob, Tokens(1, 50)), 50);
  file_.Write("[tenants.alice]\nram-bytes = 100\n");
  ASSERT_TRUE(server_->guard().Reload().ok());
  const auto put = Put(alice, of_alice, Tokens(2, 1));
  ASSERT_TRUE(put.ok()) << put.status();
  ASSERT_EQ(put->results_size(), 1);
  EXPECT_EQ(put->results(0).outcome(), v1::PUT_OUTCOME_REJECTED);
  EXPECT_THAT(put->results(0).reason(),
              ::testing::HasSubstr("tenant alice may take 100 bytes of RAM"));
  EXPECT_EQ(UsageOf(bob).quotas_size(), 0) << "it has none any more";
  EXPECT_EQ(Put(bob, of_bob, Tokens(3, 150))->stored_blocks(), 150);
}

}  // namespace
}  // namespace reprise::api
