// What operators see and do, and what tenants do not see of each other.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "api/client/admin_client.h"
#include "tests/api/credentials_fixture.h"
#include "tests/api/test_server.h"

namespace reprise::api {
namespace {

class OperatorsTest : public ::testing::Test {
 protected:
  OperatorsTest()
      : server_({.max_positions = 0,
                 .guard = {.credentials_file = file_.path()},
                 .listen = "127.0.0.1:0",
                 .admin = true}) {}

  CacheClient ClientOf(const std::string& token) {
    return CacheClient(server_.address(), {.token = token});
  }
  AdminClient Admin(const std::string& token) {
    return AdminClient(server_.server().admin_address().ToString(), {.token = token});
  }

  // Puts `num_blocks` blocks as the token's tenant; returns the namespace.
  uint32_t Put(const std::string& token, int64_t num_blocks) {
    CacheClient client = ClientOf(token);
    v1::NamespaceIdentity identity = TestIdentity();
    identity.clear_tenant();
    const auto opened = client.OpenNamespace(identity, kTestTimeout);
    EXPECT_TRUE(opened.ok()) << opened.status();
    const auto tokens = TestTokens(num_blocks);
    const auto payloads = TestPayloads(num_blocks, opened->block_bytes());
    const auto put =
        client.Put(opened->namespace_id(), {}, TestBlocks(tokens, payloads, 0), kTestTimeout);
    EXPECT_EQ(put->stored_blocks(), num_blocks);
    return opened->namespace_id();
  }

  TestCredentials file_;
  TestServer server_;
};

TEST_F(OperatorsTest, ATenantSeesItsOwnBlocksAlone) {
  const uint32_t of_alice = Put(file_.alice, 3);
  Put(file_.bob, 2);
  CacheClient bob = ClientOf(file_.bob);
  const auto list = bob.List({}, kTestTimeout);
  ASSERT_TRUE(list.ok()) << list.status();
  EXPECT_EQ(list->blocks_size(), 2);
  for (const auto& block : list->blocks()) EXPECT_EQ(block.in_namespace().tenant(), "bob");
  EXPECT_EQ(ClientOf(file_.admin).List({}, kTestTimeout)->blocks_size(), 5);

  const auto usage = bob.Usage(false, kTestTimeout);
  ASSERT_EQ(usage->tenants_size(), 1);
  EXPECT_EQ(usage->tenants(0).tenant(), "bob");
  EXPECT_EQ(usage->used_size(), 0);
  EXPECT_EQ(bob.Usage(true, kTestTimeout).status().code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(ClientOf(file_.admin).Usage(true, kTestTimeout)->tenants_size(), 2);

  v1::WatchRequest watch;
  watch.set_from_sequence(1);
  const absl::Status watched = bob.Watch(watch, kTestTimeout, [](const v1::CacheEvent& event) {
    EXPECT_EQ(event.stored().in_namespace().tenant(), "bob");
    EXPECT_EQ(event.stored().block_hashes_size(), 2);
    return false;
  });
  EXPECT_TRUE(watched.ok()) << watched;

  // Of another's namespace there is nothing to see or take.
  v1::ListRequest of_other;
  of_other.set_namespace_id(of_alice);
  v1::ExportRequest exported;
  exported.set_namespace_id(of_alice);
  watch.set_namespace_id(of_alice);
  const auto tokens = TestTokens(3);
  const absl::Status answers[] = {
      bob.List(of_other, kTestTimeout).status(),
      bob.Export(exported, kTestTimeout, [](absl::string_view) { return true; }),
      bob.Watch(watch, kTestTimeout, [](const v1::CacheEvent&) { return true; }),
      bob.Explain(of_alice, tokens, kTestTimeout).status(),
      bob.Touch(of_alice, tokens, kTestTimeout).status(),
  };
  for (const absl::Status& answer : answers) {
    EXPECT_EQ(answer.code(), absl::StatusCode::kNotFound) << answer;
  }
}

TEST_F(OperatorsTest, AnImportedFileIsTheImportersOwn) {
  v1::ExportRequest exported;
  exported.set_namespace_id(Put(file_.alice, 3));
  std::string bytes;
  ASSERT_TRUE(ClientOf(file_.alice)
                  .Export(exported, kTestTimeout,
                          [&](absl::string_view piece) {
                            bytes.append(piece.data(), piece.size());
                            return true;
                          })
                  .ok());
  CacheClient bob = ClientOf(file_.bob);
  bool sent = false;
  const auto imported =
      bob.Import(kTestTimeout, [&] { return std::exchange(sent, true) ? std::string() : bytes; });
  ASSERT_TRUE(imported.ok()) << imported.status();
  EXPECT_EQ(imported->stored_blocks(), 3);
  EXPECT_EQ(bob.List({}, kTestTimeout)->blocks(0).in_namespace().tenant(), "bob");
}

TEST_F(OperatorsTest, VerifyReadsTheDiskAndNeedsTheRole) {
  Put(file_.alice, 3);
  ASSERT_TRUE(ClientOf(file_.admin).Demote(kTestTimeout).ok());
  int messages = 0;
  const auto count = [&](const v1::VerifyProgress&) { return ++messages > 0; };
  const auto verified = Admin(file_.admin).Verify(0, kTestTimeout, count);
  ASSERT_TRUE(verified.ok()) << verified.status();
  EXPECT_TRUE(verified->done());
  EXPECT_EQ(verified->verified_blocks(), 3);
  EXPECT_EQ(verified->failed_blocks(), 0);
  EXPECT_GE(messages, 1);
  EXPECT_EQ(Admin(file_.alice).Verify(0, kTestTimeout, count).status().code(),
            absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(Admin(file_.admin).Verify(-1, kTestTimeout, count).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(OperatorsTest, SessionsAreListedAndEnded) {
  const auto stub = v1::Cache::NewStub(ConnectTo(server_.address(), {.token = file_.alice}));
  grpc::ClientContext context;
  SetTimeout(kTestTimeout, &context);
  v1::OpenSessionRequest request;
  request.set_client_name("a test");
  const auto stream = stub->OpenSession(&context, request);
  v1::SessionEvent event;
  ASSERT_TRUE(stream->Read(&event));
  AdminClient admin = Admin(file_.admin);
  const auto all = admin.ListSessions(kTestTimeout);
  ASSERT_TRUE(all.ok()) << all.status();
  ASSERT_EQ(all->sessions_size(), 1);
  const v1::SessionInfo& info = all->sessions(0);
  EXPECT_EQ(info.client_name(), "a test");
  EXPECT_EQ(info.tenant(), "alice");
  EXPECT_EQ(info.public_id().size(), 8u);
  EXPECT_NE(info.public_id(), event.opened().session_id().substr(0, 8));
  EXPECT_EQ(Admin(file_.alice).ListSessions(kTestTimeout).status().code(),
            absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(admin.EndSession("nobody", kTestTimeout).code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(admin.EndSession(info.public_id(), kTestTimeout).ok());
  EXPECT_FALSE(stream->Read(&event));
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::ABORTED);
}

}  // namespace
}  // namespace reprise::api
