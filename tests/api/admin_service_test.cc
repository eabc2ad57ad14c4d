// The Admin service of a live server with credentials.
#include "api/admin_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "absl/time/clock.h"
#include "api/client/admin_client.h"
#include "tests/api/raw_http2.h"
#include "tests/api/tenants_fixture.h"

namespace reprise::api {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class AdminTest : public TenantsTest {
 protected:
  std::unique_ptr<v1::Admin::Stub> AdminOf(const std::string& token) {
    return v1::Admin::NewStub(
        ConnectTo(server_.server().admin_address().ToString(), {.token = token}));
  }
};

TEST_F(AdminTest, OperatorsReloadAndDrainAndNobodyElse) {
  v1::ReloadResponse reloaded;
  v1::DrainResponse drained;
  const auto reload = [&](const std::string& token) {
    grpc::ClientContext context;
    SetTimeout(kTestTimeout, &context);
    return AdminOf(token)->Reload(&context, {}, &reloaded);
  };
  EXPECT_EQ(reload(file_.alice).error_code(), grpc::StatusCode::PERMISSION_DENIED);
  file_.Write("[tenants.alice]\nbytes-per-second = 5\n");
  ASSERT_TRUE(reload(file_.admin).ok());
  EXPECT_THAT(reloaded.changed(), ::testing::Contains("tenant alice has limits"));
  file_.WriteText("surprise = 1");
  const grpc::Status bad = reload(file_.admin);
  EXPECT_EQ(bad.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(bad.error_message(), HasSubstr("surprise"));
  EXPECT_TRUE(reload("").error_code() == grpc::StatusCode::INVALID_ARGUMENT)
      << "who can open the Unix socket is the operator";
  grpc::ClientContext refused;
  EXPECT_EQ(AdminOf(file_.bob)->Drain(&refused, {}, &drained).error_code(),
            grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_FALSE(server_.drained());
  grpc::ClientContext context;
  EXPECT_TRUE(AdminOf(file_.admin)->Drain(&context, {}, &drained).ok());
  EXPECT_TRUE(server_.drained());
  EXPECT_THAT(AuditText(), AllOf(HasSubstr("\"Reload\""), HasSubstr("\"Drain\""),
                                 HasSubstr("PERMISSION_DENIED"), HasSubstr("INVALID_ARGUMENT")));
  // The public listener has no Admin service.
  grpc::ClientContext elsewhere;
  EXPECT_EQ(v1::Admin::NewStub(ConnectTo(server_.address(), {.token = file_.admin}))
                ->Drain(&elsewhere, {}, &drained)
                .error_code(),
            grpc::StatusCode::UNIMPLEMENTED);
}

// A session's stream and id.
struct OpenedSession {
  grpc::ClientContext context;
  std::unique_ptr<grpc::ClientReader<v1::SessionEvent>> stream;
  std::string id;

  OpenedSession(v1::Cache::Stub& stub, const std::string& client_name) {
    v1::OpenSessionRequest request;
    request.set_client_name(client_name);
    stream = stub.OpenSession(&context, request);
    v1::SessionEvent event;
    if (stream->Read(&event)) id = event.opened().session_id();
  }
  // How the stream ends, when it does.
  grpc::Status Finish() {
    v1::SessionEvent event;
    while (stream->Read(&event)) {
    }
    return stream->Finish();
  }
};

TEST_F(AdminTest, AnOperatorSeesSessionsAndEndsOne) {
  const auto alice = v1::Cache::NewStub(ConnectTo(server_.address(), {.token = file_.alice}));
  const auto bob = v1::Cache::NewStub(ConnectTo(server_.address(), {.token = file_.bob}));
  OpenedSession of_alice(*alice, std::string(63, 'a') + "\xc3\xa4");
  OpenedSession of_bob(*bob, "bob");
  ASSERT_EQ(of_alice.id.size(), 16u);
  // To another tenant the session is not there, although it has its id.
  v1::RenewRequest renew;
  renew.set_session_id(of_alice.id);
  v1::RenewResponse renewed;
  grpc::ClientContext own;
  EXPECT_TRUE(alice->Renew(&own, renew, &renewed).ok());
  grpc::ClientContext foreign;
  EXPECT_EQ(bob->Renew(&foreign, renew, &renewed).error_code(), grpc::StatusCode::NOT_FOUND);
  v1::ListSessionsResponse sessions;
  const auto list = [&](const std::string& token) {
    grpc::ClientContext context;
    SetTimeout(kTestTimeout, &context);
    sessions.Clear();
    return AdminOf(token)->ListSessions(&context, {}, &sessions).error_code();
  };
  EXPECT_EQ(list(file_.alice), grpc::StatusCode::PERMISSION_DENIED);
  ASSERT_EQ(list(file_.admin), grpc::StatusCode::OK);
  ASSERT_EQ(sessions.sessions_size(), 2);
  const v1::SessionInfo info = sessions.sessions(sessions.sessions(0).tenant() == "alice" ? 0 : 1);
  EXPECT_EQ(info.tenant(), "alice");
  EXPECT_EQ(info.client_name(), std::string(63, 'a')) << "cut between two characters";
  EXPECT_THAT(info.peer(), HasSubstr("127.0.0.1"));
  EXPECT_EQ(info.public_id().size(), 8u);
  EXPECT_THAT(of_alice.id, Not(HasSubstr(info.public_id())));
  const auto end = [&](const std::string& token, const std::string& public_id) {
    v1::EndSessionRequest request;
    request.set_public_id(public_id);
    v1::EndSessionResponse ended;
    grpc::ClientContext context;
    SetTimeout(kTestTimeout, &context);
    return AdminOf(token)->EndSession(&context, request, &ended).error_code();
  };
  EXPECT_EQ(end(file_.bob, info.public_id()), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(end(file_.admin, of_alice.id), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(end(file_.admin, info.public_id()), grpc::StatusCode::OK);
  EXPECT_EQ(of_alice.Finish().error_code(), grpc::StatusCode::ABORTED);
  EXPECT_EQ(end(file_.admin, info.public_id()), grpc::StatusCode::NOT_FOUND);
  ASSERT_EQ(list(file_.admin), grpc::StatusCode::OK);
  ASSERT_EQ(sessions.sessions_size(), 1);
  EXPECT_EQ(sessions.sessions(0).tenant(), "bob");
  EXPECT_THAT(AuditText(), AllOf(HasSubstr("\"EndSession\""), HasSubstr("\"ListSessions\"")));
  of_bob.context.TryCancel();
  of_bob.Finish();
}

TEST(AdminThreadsTest, AVerifyThatNobodyReadsHoldsAThreadForATimeOnly) {
  TestServer server(
      {.max_positions = 0, .max_message_time = absl::Milliseconds(200), .admin = true});
  constexpr int kCalls = 100;
  RawHttp2 rude(server.server().admin_address(), /*window=*/0);
  for (int i = 0; i < kCalls; ++i) rude.Call("/reprise.v1.Admin/Verify", {});
  // All end, those that found no thread at once.
  EXPECT_TRUE(rude.AwaitEnds(kCalls));
  // A thread goes a moment after its call.
  AdminClient admin(server.server().admin_address().ToString());
  const absl::Time deadline = absl::Now() + kTestTimeout;
  const auto go_on = [](const v1::VerifyProgress&) { return true; };
  while (!admin.Verify(0, kTestTimeout, go_on).ok()) ASSERT_LT(absl::Now(), deadline);
}

}  // namespace
}  // namespace reprise::api
