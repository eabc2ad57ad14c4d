// Who may do what, against a live server with credentials: tenants share nothing, namespaces for
// all are read by all, and every method of every service asks.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "api/auth/rate_limiter.h"
#include "api/client/session.h"
#include "api/limits.h"
#include "reprise/v1/admin.pb.h"
#include "tests/api/bare_calls.h"
#include "tests/api/hints_keeper.h"
#include "tests/api/raw_http2.h"
#include "tests/api/tenants_fixture.h"

namespace reprise::api {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

TEST_F(TenantsTest, TwoTenantsWithTheSamePromptShareNothingAndEachHitsItsOwn) {
  CacheClient alice = ClientOf(file_.alice);
  CacheClient bob = ClientOf(file_.bob);
  const v1::OpenNamespaceResponse of_alice = OpenOwn(alice);
  const v1::OpenNamespaceResponse of_bob = OpenOwn(bob);
  EXPECT_NE(of_alice.namespace_id(), of_bob.namespace_id());
  ASSERT_TRUE(Put(alice, of_alice.namespace_id(), of_alice.block_bytes()).ok());
  // The same identity, the same prompt.
  EXPECT_EQ(Matched(alice, of_alice.namespace_id()), kBlocks);
  EXPECT_EQ(Got(alice, of_alice.namespace_id()), kBlocks);
  EXPECT_EQ(Matched(bob, of_bob.namespace_id()), 0);
  EXPECT_EQ(Got(bob, of_bob.namespace_id()), 0);
  const auto put = Put(bob, of_bob.namespace_id(), of_bob.block_bytes());
  ASSERT_TRUE(put.ok()) << put.status();
  EXPECT_EQ(put->stored_blocks(), kBlocks);
  EXPECT_EQ(Matched(bob, of_bob.namespace_id()), kBlocks);
  EXPECT_EQ(server_.store().stats().sealed_blocks, 2 * kBlocks) << "a block was shared";
  // What one takes out stays with the other.
  v1::InvalidateRequest request;
  request.set_namespace_id(of_bob.namespace_id());
  ASSERT_TRUE(bob.Invalidate(request, kTestTimeout).ok());
  EXPECT_EQ(Matched(bob, of_bob.namespace_id()), 0);
  EXPECT_EQ(Matched(alice, of_alice.namespace_id()), kBlocks);
}

TEST_F(TenantsTest, ANamespaceThatWasGuessedIsNotThere) {
  CacheClient alice = ClientOf(file_.alice);
  CacheClient bob = ClientOf(file_.bob);
  const v1::OpenNamespaceResponse of_alice = OpenOwn(alice);
  ASSERT_TRUE(Put(alice, of_alice.namespace_id(), of_alice.block_bytes()).ok());
  const uint32_t guessed = of_alice.namespace_id();
  constexpr uint32_t kNever = 4'000'000;
  v1::InvalidateRequest request;
  request.set_namespace_id(guessed);
  v1::InvalidateRequest of_prefix;
  of_prefix.mutable_prefix()->set_namespace_id(guessed);
  of_prefix.mutable_prefix()->mutable_token_ids()->Assign(tokens_.begin(), tokens_.end());
  const auto ignore = [](const v1::GetResponse&) {};
  const absl::Status answers[] = {
      bob.Match(guessed, tokens_, kTestTimeout).status(),
      bob.Get(guessed, tokens_, 0, kTestTimeout, ignore).status(),
      Put(bob, guessed, of_alice.block_bytes()).status(),
      bob.Invalidate(request, kTestTimeout).status(),
      bob.Invalidate(of_prefix, kTestTimeout).status(),
  };
  for (const absl::Status& answer : answers) {
    EXPECT_EQ(answer.code(), absl::StatusCode::kNotFound) << answer;
  }
  // One that nobody has opened looks the same.
  EXPECT_EQ(bob.Match(kNever, tokens_, kTestTimeout).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(Matched(alice, guessed), kBlocks);
}

TEST_F(TenantsTest, TheTenantIsTheCredentialsWhateverTheRequestSays) {
  CacheClient bob = ClientOf(file_.bob);
  v1::NamespaceIdentity identity = TestIdentity();
  identity.set_tenant("alice");
  EXPECT_EQ(bob.OpenNamespace(identity, kTestTimeout).status().code(),
            absl::StatusCode::kPermissionDenied);
  identity.set_tenant("bob");
  EXPECT_TRUE(bob.OpenNamespace(identity, kTestTimeout).ok());
  v1::InvalidateRequest request;
  request.set_tenant("alice");
  EXPECT_EQ(bob.Invalidate(request, kTestTimeout).status().code(),
            absl::StatusCode::kPermissionDenied);
  request.set_all(true);
  EXPECT_EQ(bob.Invalidate(request, kTestTimeout).status().code(),
            absl::StatusCode::kPermissionDenied);
  // What counts the doings of all tenants is for operators.
  EXPECT_EQ(bob.Stats(kTestTimeout).status().code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(bob.Demote(kTestTimeout).status().code(), absl::StatusCode::kPermissionDenied);
  CacheClient admin = ClientOf(file_.admin);
  EXPECT_TRUE(admin.Stats(kTestTimeout).ok());
  EXPECT_TRUE(admin.Invalidate(request, kTestTimeout).ok());
}

TEST_F(TenantsTest, ASharedNamespaceIsReadByAllAndWrittenByPublishers) {
  const auto of_system = OpenShared(file_.publisher, OwnIdentity());
  ASSERT_TRUE(of_system.ok()) << of_system.status();
  const uint32_t ns = of_system->namespace_id();
  CacheClient publisher = ClientOf(file_.publisher);
  CacheClient alice = ClientOf(file_.alice);
  ASSERT_TRUE(Put(publisher, ns, of_system->block_bytes()).ok());
  EXPECT_EQ(OpenShared(file_.alice, OwnIdentity())->namespace_id(), ns);
  EXPECT_EQ(Matched(alice, ns), kBlocks);
  EXPECT_EQ(Got(alice, ns), kBlocks);
  const absl::Status put = Put(alice, ns, of_system->block_bytes()).status();
  EXPECT_EQ(put.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(std::string(put.message()), HasSubstr("publisher"));
  v1::InvalidateRequest request;
  request.set_namespace_id(ns);
  EXPECT_EQ(alice.Invalidate(request, kTestTimeout).status().code(),
            absl::StatusCode::kPermissionDenied);
  // It is nobody's own namespace, and nobody can name its tenant.
  EXPECT_EQ(Matched(alice, OpenOwn(alice).namespace_id()), 0);
  EXPECT_EQ(Matched(publisher, OpenOwn(publisher).namespace_id()), 0);
  EXPECT_EQ(OpenShared(file_.admin, TestIdentity()).status().code(),
            absl::StatusCode::kInvalidArgument);
  v1::NamespaceIdentity identity = TestIdentity();
  identity.set_tenant(std::string(kSharedTenant));
  for (const std::string& token : {file_.alice, file_.publisher, file_.admin}) {
    CacheClient client = ClientOf(token);
    EXPECT_EQ(client.OpenNamespace(identity, kTestTimeout).status().code(),
              absl::StatusCode::kPermissionDenied);
  }
}

TEST_F(TenantsTest, WhoOnlyReadsASharedNamespaceCannotHaveItsBlocksGoSooner) {
  const auto shared = OpenShared(file_.publisher, OwnIdentity());
  ASSERT_TRUE(shared.ok()) << shared.status();
  CacheClient publisher = ClientOf(file_.publisher);
  ASSERT_TRUE(Put(publisher, shared->namespace_id(), shared->block_bytes()).ok());
  v1::CacheHints worthless;
  worthless.set_session("s");
  worthless.set_turn(2);
  worthless.set_waiting_requests(3);
  worthless.set_finish_reason("end_turn");
  worthless.set_session_closed(true);
  worthless.set_reuse_probability(0);
  worthless.set_reuse_in_seconds(86400);
  worthless.set_priority(-100);
  worthless.set_ttl_seconds(0.001);
  const auto keeper = std::make_shared<HintsKeeper>();
  server_.store().Watch(keeper);
  // Every call that takes hints and writes nothing; the hints that came through.
  const auto hints_of = [&](const std::string& token) {
    CacheClient client = ClientOf(token);
    const uint32_t ns = OpenShared(token, OwnIdentity())->namespace_id();
    EXPECT_TRUE(client.Touch(ns, tokens_, kTestTimeout, worthless).ok());
    EXPECT_TRUE(client.Prefetch(ns, tokens_, 0, kTestTimeout, worthless).ok());
    v1::GetRequest get;
    get.set_namespace_id(ns);
    get.mutable_token_ids()->Assign(tokens_.begin(), tokens_.end());
    *get.mutable_hints() = worthless;
    EXPECT_TRUE(client.Get(get, kTestTimeout, [](const v1::GetResponse&) {}).ok());
    auto session = CacheSession::Open(server_.address(), {.access = {.token = token}});
    EXPECT_TRUE(session.ok()) << session.status();
    v1::AcquireRequest wanted;
    *wanted.mutable_hints() = worthless;
    auto acquired = (*session)->Acquire(ns, tokens_, wanted, kTestTimeout);
    EXPECT_TRUE(acquired.ok()) << acquired.status();
    EXPECT_TRUE(
        (*session)->EndRequest(std::move(acquired->lease), worthless, 5, kTestTimeout).ok());
    return keeper->Take();
  };
  const auto of_reader = hints_of(file_.alice);
  const auto of_publisher = hints_of(file_.publisher);
  server_.store().Watch(nullptr);
  EXPECT_GE(of_reader.size(), 4u);
  EXPECT_EQ(of_reader.size(), of_publisher.size());
  for (const cachestore::RequestHints& hints : of_reader) {
    EXPECT_EQ(hints.ending, cachestore::RequestHints::Ending::kUnknown);
    EXPECT_FALSE(hints.session_closed);
    EXPECT_FALSE(hints.reuse_probability || hints.next_use || hints.ttl);
    EXPECT_EQ(hints.priority, 0);
    EXPECT_NE(hints.session, 0u);
    EXPECT_EQ(hints.turn, -1);
    EXPECT_EQ(hints.waiting_requests, 3);
  }
  for (const cachestore::RequestHints& hints : of_publisher) {
    EXPECT_TRUE(hints.session_closed && hints.reuse_probability && hints.next_use && hints.ttl);
    EXPECT_EQ(hints.priority, -100);
  }
}

TEST_F(TenantsTest, OneTenantCannotOpenTheNamespacesOfAll) {
  CacheClient alice = ClientOf(file_.alice);
  v1::NamespaceIdentity identity = OwnIdentity();
  for (int64_t i = 0; i < kMaxTenantNamespaces; ++i) {
    identity.set_salt(absl::StrCat(i));
    ASSERT_TRUE(alice.OpenNamespace(identity, kTestTimeout).ok()) << i;
  }
  EXPECT_TRUE(alice.OpenNamespace(identity, kTestTimeout).ok()) << "it is open already";
  identity.set_salt("one more");
  const absl::Status refused = alice.OpenNamespace(identity, kTestTimeout).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(refused.message()), HasSubstr("alice"));
  EXPECT_TRUE(ClientOf(file_.bob).OpenNamespace(identity, kTestTimeout).ok());
}

TEST(LoopbackTest, EveryAddressOfThisMachineAloneTakesTokens) {
  TestCredentials file;
  for (const char* listen : {"127.0.0.2:0", "localhost:0"}) {
    const TestServer server(
        {.max_positions = 0, .guard = {.credentials_file = file.path()}, .listen = listen});
    EXPECT_TRUE(CacheClient(server.address(), {.token = file.admin}).Stats(kTestTimeout).ok());
    EXPECT_EQ(CacheClient(server.address()).Stats(kTestTimeout).status().code(),
              absl::StatusCode::kUnauthenticated);
  }
}

TEST_F(TenantsTest, EveryMethodNeedsACredentialAndHealthNone) {
  std::vector<std::string> paths = AllMethods();
  EXPECT_GT(paths.size(), 15u);
  paths.push_back("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo");
  paths.push_back("/no.such.Service/AtAll");
  for (const std::string& token : {std::string(), MakeToken()}) {
    const auto channel = ConnectTo(server_.address(), {.token = token});
    for (const std::string& path : paths) {
      EXPECT_EQ(CallBare(channel, path).error_code(), grpc::StatusCode::UNAUTHENTICATED) << path;
    }
    const grpc::Status health = CallBare(channel, "/grpc.health.v1.Health/Check");
    EXPECT_TRUE(health.ok()) << health.error_code() << " " << health.error_message();
  }
}

TEST_F(TenantsTest, RefusalsAreAuditedWithoutTheSecret) {
  const std::string secret = MakeToken();
  CacheClient stranger = ClientOf(secret);
  const absl::Status refused = stranger.Stats(kTestTimeout).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kUnauthenticated);
  v1::InvalidateRequest request;
  request.set_all(true);
  EXPECT_FALSE(ClientOf(file_.bob).Invalidate(request, kTestTimeout).ok());
  EXPECT_TRUE(ClientOf(file_.admin).Invalidate(request, kTestTimeout).ok());
  const std::string audit = AuditText();
  EXPECT_THAT(audit, AllOf(HasSubstr("\"refused\""), HasSubstr("UNAUTHENTICATED"),
                           HasSubstr("/reprise.v1.Cache/Stats"), HasSubstr("grpc-c++")));
  EXPECT_THAT(audit, AllOf(HasSubstr("bob-web"), HasSubstr("PERMISSION_DENIED"), HasSubstr("ops"),
                           HasSubstr("all tenants"), HasSubstr("ipv4:127.0.0.1:")));
  for (const std::string& token : {secret, file_.alice, file_.bob, file_.admin}) {
    for (const std::string& text : {audit, std::string(refused.message())}) {
      EXPECT_THAT(text, AllOf(Not(HasSubstr(token)), Not(HasSubstr(ToHex(DigestOf(token))))));
    }
  }
}

// What a call is answered, asked again while gRPC itself refuses it: threads that refuse others may
// not be back yet, for a moment. Gives up long before calls that are silent end by themselves.
template <typename Call>
auto AnswerOf(const Call& call) {
  const absl::Time deadline = absl::Now() + kMaxSilence / 3;
  auto answer = call();
  while (absl::StrContains(answer.status().message(), "Threadpool Exhausted") &&
         absl::Now() < deadline) {
    answer = call();
  }
  return answer;
}

TEST_F(TenantsTest, ATenantWhoseCallsDoNotEndLeavesThreadsToOthers) {
  CacheClient alice = ClientOf(file_.alice);
  CacheClient bob = ClientOf(file_.bob);
  const uint32_t of_alice = OpenOwn(alice).namespace_id();
  const uint32_t of_bob = OpenOwn(bob).namespace_id();
  const auto stub = v1::Cache::NewStub(ConnectTo(server_.address(), {.token = file_.alice}));
  v1::PutResponse response;
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<std::unique_ptr<grpc::ClientWriter<v1::PutRequest>>> silent;
  for (int i = 0; i < kMaxCacheCalls; ++i) {
    contexts.push_back(std::make_unique<grpc::ClientContext>());
    SetTimeout(kTestTimeout, contexts.back().get());
    silent.push_back(stub->Put(contexts.back().get(), &response));
  }
  absl::Status status;
  const absl::Time deadline = absl::Now() + kTestTimeout;
  while (status.ok() && absl::Now() < deadline) {
    status =
        AnswerOf([&] { return alice.Exists(of_alice, tokens_, false, kTestTimeout); }).status();
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("tenant alice has 32 calls under way"));
  EXPECT_GT(RetryAfter(status), absl::ZeroDuration());
  EXPECT_THAT(AuditText(), AllOf(HasSubstr("alice-web"), HasSubstr("has 32 calls under way")));
  // What never waits has no part in it, but for very long prompts.
  const std::vector<uint32_t> very_long(kMaxQuickTokens + 1, 1);
  EXPECT_TRUE(alice.Match(of_alice, tokens_, kTestTimeout).ok());
  EXPECT_THAT(std::string(alice.Match(of_alice, very_long, kTestTimeout).status().message()),
              HasSubstr("tenant alice has 32 calls under way"));
  EXPECT_TRUE(bob.Match(of_bob, very_long, kTestTimeout).ok());
  for (int i = 0; i < 100; ++i) {
    const auto exists = AnswerOf([&] { return bob.Exists(of_bob, tokens_, false, kTestTimeout); });
    ASSERT_TRUE(exists.ok()) << exists.status();
  }
  for (size_t i = 0; i < silent.size(); ++i) {
    contexts[i]->TryCancel();
    silent[i]->Finish();
  }
  while (!status.ok() && absl::Now() < deadline) {
    status = alice.Exists(of_alice, tokens_, false, kTestTimeout).status();
  }
  EXPECT_TRUE(status.ok()) << status;
  // More of them, one after the other, than may be at once.
  for (int i = 0; i < 2 * kMaxTenantCalls; ++i) {
    ASSERT_TRUE(alice.Match(of_alice, very_long, kTestTimeout).ok()) << i;
  }
}

TEST_F(TenantsTest, AnswersThatAreNotTakenLeaveThreadsToOthers) {
  constexpr int kCalls = 100;
  RawHttp2 rude(server_.server().address(), /*window=*/0);
  for (int i = 0; i < kCalls; ++i) {
    rude.Call("/reprise.v1.Cache/Usage", {{"authorization", "Bearer " + file_.alice}});
  }
  // A refusal needs no room.
  EXPECT_TRUE(rude.AwaitEnds(kCalls - kMaxTenantCalls - kMaxTenantAnswers));
  CacheClient bob = ClientOf(file_.bob);
  const auto opened = AnswerOf([&] { return bob.OpenNamespace(OwnIdentity(), kTestTimeout); });
  ASSERT_TRUE(opened.ok()) << opened.status();
  const uint32_t ns = opened->namespace_id();
  for (int i = 0; i < 100; ++i) EXPECT_EQ(Matched(bob, ns), 0);
}

TEST_F(TenantsTest, ATenantThatCallsTooOftenIsToldWhenToComeAgain) {
  file_.Write("[tenants.alice]\ncalls-per-second = 2\n[tenants.bob]\nbytes-per-second = 100\n");
  ASSERT_TRUE(server_.guard().Reload().ok());
  CacheClient alice = ClientOf(file_.alice);
  CacheClient bob = ClientOf(file_.bob);
  const uint32_t ns = OpenOwn(alice).namespace_id();
  absl::Status refused;
  for (int i = 0; i < 1000 && refused.ok(); ++i) {
    refused = alice.Match(ns, tokens_, kTestTimeout).status();
  }
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(refused.message()), HasSubstr("calls-per-second"));
  EXPECT_GT(RetryAfter(refused), absl::ZeroDuration());
  EXPECT_LE(RetryAfter(refused), absl::Milliseconds(500));
  // Others do not feel it; blocks that were moved are paid for by the calls after.
  const v1::OpenNamespaceResponse of_bob = OpenOwn(bob);
  ASSERT_TRUE(Put(bob, of_bob.namespace_id(), of_bob.block_bytes()).ok());
  refused = bob.Match(of_bob.namespace_id(), tokens_, kTestTimeout).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_GT(RetryAfter(refused), absl::Seconds(1));
  EXPECT_TRUE(ClientOf(file_.admin).Stats(kTestTimeout).ok());
}

class GeneratingTenantsTest : public TenantsTest {
 protected:
  GeneratingTenantsTest() : TenantsTest(512) {}

  absl::StatusOr<v1::GenerateSummary> Generate(const std::string& token,
                                               const std::string& tenant) {
    v1::GenerateRequest request;
    request.set_text(std::string(100, 'a'));
    request.set_tenant(tenant);
    request.mutable_stop()->set_max_new_tokens(2);
    InferenceClient client(server_.address(), {.token = token});
    return client.Generate(request, kTestTimeout, [](const v1::TokenChunk&) {});
  }
};

TEST_F(GeneratingTenantsTest, GenerationsShareBlocksWithinATenantAlone) {
  ASSERT_EQ(Generate(file_.alice, "")->cached_tokens().ram(), 0);
  EXPECT_GT(Generate(file_.alice, "")->cached_tokens().ram(), 0);
  EXPECT_GT(Generate(file_.alice, "alice")->cached_tokens().ram(), 0);
  EXPECT_EQ(Generate(file_.bob, "")->cached_tokens().ram(), 0);
  EXPECT_EQ(Generate(file_.bob, "alice").status().code(), absl::StatusCode::kPermissionDenied);
  EXPECT_GT(Generate(file_.admin, "alice")->cached_tokens().ram(), 0);
  InferenceClient client(server_.address(), {.token = file_.bob});
  EXPECT_EQ(client.GetModel(kTestTimeout)->identity().tenant(), "bob");
}

TEST_F(GeneratingTenantsTest, AQuotaRefusesNoGeneration) {
  constexpr int64_t kQuota = 2 * 4096;
  file_.Write("[tenants.alice]\nram-bytes = " + std::to_string(kQuota) + "\n");
  ASSERT_TRUE(server_.guard().Reload().ok());
  ASSERT_TRUE(Generate(file_.alice, "").ok());
  const auto again = Generate(file_.alice, "");
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->new_tokens(), 2);
  EXPECT_GT(server_.store().stats().sealed_blocks * 4096, kQuota) << "the quota was not in reach";
}

}  // namespace
}  // namespace reprise::api
