// Sessions of two tenants, against a live server with credentials.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
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

}  // namespace
}  // namespace reprise::api
