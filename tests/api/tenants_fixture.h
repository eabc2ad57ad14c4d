// TenantsTest: a server with credentials of several tenants, on a TCP port, with the Admin service
// on a Unix socket, and their clients.
#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "api/status_codec.h"
#include "tests/api/credentials_fixture.h"
#include "tests/api/test_server.h"

namespace reprise::api {

constexpr int64_t kBlocks = 3;

// The identity of one model's blocks, of the caller's tenant.
inline v1::NamespaceIdentity OwnIdentity() {
  v1::NamespaceIdentity identity = TestIdentity();
  identity.clear_tenant();
  return identity;
}

class TenantsTest : public ::testing::Test {
 protected:
  explicit TenantsTest(int64_t max_positions = 0)
      : server_({.max_positions = max_positions,
                 .guard = {.credentials_file = file_.path(), .audit_log = file_.audit_log()},
                 .listen = "127.0.0.1:0",
                 .admin = true}) {}

  CacheClient ClientOf(const std::string& token) {
    return CacheClient(server_.address(), {.token = token});
  }

  v1::OpenNamespaceResponse OpenOwn(CacheClient& client) {
    const auto opened = client.OpenNamespace(OwnIdentity(), kTestTimeout);
    EXPECT_TRUE(opened.ok()) << opened.status();
    return opened.value_or(v1::OpenNamespaceResponse());
  }

  absl::StatusOr<v1::OpenNamespaceResponse> OpenShared(const std::string& token,
                                                       const v1::NamespaceIdentity& identity) {
    grpc::ClientContext context;
    SetTimeout(kTestTimeout, &context);
    v1::OpenNamespaceRequest request;
    *request.mutable_identity() = identity;
    request.set_hash_scheme(std::string(cachestore::kHashSchemeId));
    request.set_shared(true);
    v1::OpenNamespaceResponse response;
    const auto stub = v1::Cache::NewStub(ConnectTo(server_.address(), {.token = token}));
    const grpc::Status status = stub->OpenNamespace(&context, request, &response);
    if (!status.ok()) return FromGrpc(status);
    return response;
  }

  absl::StatusOr<v1::PutResponse> Put(CacheClient& client, uint32_t ns, int64_t block_bytes) {
    payloads_ = TestPayloads(kBlocks, block_bytes);
    return client.Put(ns, {}, TestBlocks(tokens_, payloads_, 0), kTestTimeout);
  }
  int64_t Matched(CacheClient& client, uint32_t ns) {
    const auto match = client.Match(ns, tokens_, kTestTimeout);
    EXPECT_TRUE(match.ok()) << match.status();
    return match.ok() ? match->ram_blocks() + match->disk_blocks() : -1;
  }
  int64_t Got(CacheClient& client, uint32_t ns) {
    const auto got = client.Get(ns, tokens_, 0, kTestTimeout, [this](const v1::GetResponse& block) {
      EXPECT_EQ(block.payload(), payloads_[static_cast<size_t>(block.block_index())]);
    });
    EXPECT_TRUE(got.ok()) << got.status();
    return got.value_or(-1);
  }

  std::string AuditText() {
    std::stringstream text;
    text << std::ifstream(file_.audit_log()).rdbuf();
    return text.str();
  }

  TestCredentials file_;
  TestServer server_;
  const std::vector<uint32_t> tokens_ = TestTokens(kBlocks);
  std::vector<std::string> payloads_;
};

}  // namespace reprise::api
