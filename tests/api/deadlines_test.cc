// Every method's deadline, against a server whose disk stands still: what waits for the disk or for
// its client ends for both sides, what does not wait is answered all the same, and afterwards
// nothing is held.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "api/client/session.h"
#include "cachestore/base/hash.h"
#include "reprise/v1/admin.pb.h"
#include "tests/api/bare_calls.h"
#include "tests/api/log_file.h"
#include "tests/api/test_server.h"

namespace reprise::api {
namespace {

using ::testing::UnorderedElementsAreArray;

// Of calls that wait, and within which their handlers must have returned.
constexpr absl::Duration kShort = absl::Seconds(1);
constexpr absl::Duration kSoon = absl::Seconds(20);
constexpr char kPrompt[] = "a prompt that is long enough for some blocks of the model's own";

// A call of a method, by its service and name.
struct Call {
  std::string method;
  std::string about;
  std::optional<std::string> request = std::string();  // none: the client stays silent
  grpc::StatusCode answer = grpc::StatusCode::OK;
};

class DeadlinesTest : public ::testing::Test {
 protected:
  DeadlinesTest()
      : client_(server_->address()),
        channel_(ConnectTo(server_->address())),
        admin_(ConnectTo(server_->server().admin_address().ToString())) {
    // A call that finds no connection in time is none.
    for (const auto& connection : {channel_, admin_}) {
      CHECK(connection->WaitForConnected(absl::ToChronoTime(absl::Now() + kTestTimeout)));
    }
    const auto opened = client_.OpenNamespace(TestIdentity(), kTestTimeout);
    CHECK(opened.ok());
    ns_ = opened->namespace_id();
    v1::NamespaceIdentity of_keys = TestIdentity();
    of_keys.set_key_source(v1::KEY_SOURCE_EXTERNAL);
    keys_ns_ = client_.OpenNamespace(of_keys, kTestTimeout)->namespace_id();
    const auto payloads = TestPayloads(kBlocks, opened->block_bytes());
    CHECK(client_.Put(ns_, {}, TestBlocks(tokens_, payloads, 0), kTestTimeout).ok());
    v1::PutRequest lone;
    lone.set_namespace_id(keys_ns_);
    lone.set_independent_keys(true);
    lone.set_external_key(key_);
    SetPayload(payloads[0], &lone);
    CHECK(Send({"Cache/Put", "", lone.SerializeAsString()}, kTestTimeout).ok());
    CHECK(Send({"Inference/Generate", "", OfModel()}, kTestTimeout).ok());
    CHECK(client_.Demote(kTestTimeout).value_or(0) > kBlocks);
    // One that is in RAM alone, for Demote.
    CHECK(client_.Put(ns_, {}, {{other_tokens_, payloads[1]}}, kTestTimeout).ok());
    faults_->CloseLoadGate();
    faults_->CloseWriteGate();
    session_ =
        *CacheSession::Open(server_->address(), {.shared_memory = true, .ttl = absl::Seconds(30)});
    auto acquired = session_->Acquire(ns_, tokens_, {}, kTestTimeout);
    CHECK(acquired.ok());
    CHECK(acquired->lease.state().phase() == v1::LEASE_PHASE_LOADING);
    lease_ = std::move(acquired->lease);
  }
  ~DeadlinesTest() override { OpenGates(); }

  void OpenGates() {
    faults_->OpenLoadGate();
    faults_->OpenWriteGate();
  }

  static void SetPayload(const std::string& payload, v1::PutRequest* request) {
    request->set_payload(payload);
    request->set_payload_xxh3(cachestore::HashBytes64(
        absl::MakeConstSpan(reinterpret_cast<const std::byte*>(payload.data()), payload.size())));
  }
  // A request about tokens_ that has so much of the usual fields.
  template <typename Request>
  Request About() const {
    Request request;
    request.set_namespace_id(ns_);
    request.mutable_token_ids()->Assign(tokens_.begin(), tokens_.end());
    return request;
  }
  template <typename Request>
  Request OfSession() const {
    Request request;
    request.set_session_id(std::string(session_->id()));
    return request;
  }
  static std::string OfModel() {
    v1::GenerateRequest request;
    request.set_text(kPrompt);
    request.mutable_stop()->set_max_new_tokens(1);
    return request.SerializeAsString();
  }

  std::vector<Call> CallsThatWait() {
    v1::PutRequest put;
    put.set_namespace_id(ns_);
    put.mutable_prefix_token_ids()->Assign(tokens_.begin(), tokens_.end());
    put.mutable_token_ids()->Assign(other_tokens_.begin(), other_tokens_.end());
    SetPayload(TestPayloads(1, 512)[0], &put);
    auto get_of_lease = OfSession<v1::GetRequest>();
    get_of_lease.set_lease_id(lease_.id());
    v1::GetRequest get_of_key;
    get_of_key.set_namespace_id(keys_ns_);
    get_of_key.set_independent_keys(true);
    get_of_key.add_external_keys(key_);
    auto seal = OfSession<v1::SealRequest>();
    seal.set_namespace_id(ns_);
    seal.mutable_prefix_token_ids()->Assign(tokens_.begin(), tokens_.end());
    v1::ExportRequest all;
    all.set_namespace_id(ns_);
    v1::ExportRequest prefix;
    *prefix.mutable_prefix() = About<v1::BlockPrefix>();
    v1::WatchRequest watch;
    watch.set_from_sequence(server_->store().next_event());
    v1::InvalidateRequest invalidate;
    invalidate.set_namespace_id(ns_);
    return {
        {"Cache/Put", "behind a prefix that is on disk", put.SerializeAsString()},
        {"Cache/Put", "of a silent client", std::nullopt},
        {"Cache/Get", "of a prefix on disk", About<v1::GetRequest>().SerializeAsString()},
        {"Cache/Get", "of a lease that loads", get_of_lease.SerializeAsString()},
        {"Cache/Get", "of a key on disk", get_of_key.SerializeAsString()},
        {"Cache/Seal", "behind a prefix that is on disk", seal.SerializeAsString()},
        {"Cache/Export", "of a namespace", all.SerializeAsString()},
        {"Cache/Export", "of a prefix", prefix.SerializeAsString()},
        {"Cache/Import", "of a silent client", std::nullopt},
        {"Cache/Watch", "of events that do not come", watch.SerializeAsString()},
        {"Cache/OpenSession", "for as long as there is time"},
        {"Inference/Generate", "of a prompt on disk", OfModel()},
        {"Admin/Verify", "of blocks on disk"},
        {"Cache/Demote", "to a disk that does not take it"},
        {"Cache/Invalidate", "of what the disk does not erase", invalidate.SerializeAsString()},
    };
  }

  std::vector<Call> CallsThatDoNot() const {
    v1::OpenNamespaceRequest open;
    *open.mutable_identity() = TestIdentity();
    open.set_hash_scheme(std::string(cachestore::kHashSchemeId));
    auto acquire = OfSession<v1::AcquireRequest>();
    acquire.set_namespace_id(ns_);
    acquire.mutable_token_ids()->Assign(tokens_.begin(), tokens_.end());
    auto release = OfSession<v1::ReleaseRequest>();
    release.add_lease_ids("of another");
    auto grant = OfSession<v1::GrantRequest>();
    grant.set_namespace_id(ns_);
    grant.set_num_blocks(1);
    v1::TokenizeRequest tokenize;
    tokenize.set_text(kPrompt);
    v1::StartRecordingRequest record;
    record.set_path(server_->folder() / "requests.ktr");
    return {
        {"Cache/OpenNamespace", "", open.SerializeAsString()},
        {"Cache/Match", "", About<v1::MatchRequest>().SerializeAsString()},
        {"Cache/Exists", "", About<v1::ExistsRequest>().SerializeAsString()},
        {"Cache/Touch", "", About<v1::TouchRequest>().SerializeAsString()},
        {"Cache/Prefetch", "", About<v1::PrefetchRequest>().SerializeAsString()},
        {"Cache/Explain", "", About<v1::ExplainRequest>().SerializeAsString()},
        {"Cache/Acquire", "", acquire.SerializeAsString()},
        {"Cache/Renew", "", OfSession<v1::RenewRequest>().SerializeAsString()},
        {"Cache/Release", "", release.SerializeAsString()},
        {"Cache/Grant", "", grant.SerializeAsString()},
        {"Cache/Stats", ""},
        {"Cache/List", ""},
        {"Cache/Usage", ""},
        {"Cache/WhatIf", ""},
        {"Inference/Tokenize", "", tokenize.SerializeAsString()},
        {"Inference/GetModel", ""},
        {"Inference/ListModels", ""},
        {"Admin/ListSessions", ""},
        {"Admin/EndSession", "", "", grpc::StatusCode::NOT_FOUND},
        {"Admin/Reload", ""},
        {"Admin/Drain", ""},
        {"Admin/StartRecording", "", record.SerializeAsString()},
        {"Admin/StopRecording", ""},
    };
  }

  // Sends the request, reads what comes, and counts the call.
  grpc::Status Send(const Call& call, absl::Duration timeout) {
    const std::string path = absl::StrCat("/reprise.v1.", call.method);
    const grpc::internal::RpcMethod rpc(path.c_str(), grpc::internal::RpcMethod::BIDI_STREAMING);
    grpc::ClientContext context;
    SetTimeout(timeout, &context);
    using Factory = grpc::internal::ClientReaderWriterFactory<grpc::ByteBuffer, grpc::ByteBuffer>;
    const std::unique_ptr<grpc::ClientReaderWriter<grpc::ByteBuffer, grpc::ByteBuffer>> stream(
        Factory::Create(absl::StartsWith(call.method, "Admin/") ? admin_.get() : channel_.get(),
                        rpc, &context));
    if (call.request.has_value()) {
      const grpc::Slice slice(*call.request);
      stream->Write(grpc::ByteBuffer(&slice, 1));
      stream->WritesDone();
    }
    grpc::ByteBuffer answer;
    while (stream->Read(&answer)) {
    }
    ++sent_[call.method];
    return stream->Finish();
  }
  // Whether handlers of the method return until none is under way: each call is a line then.
  bool AllReturn(const std::string& method) {
    const std::string rpc = absl::StrCat("\"rpc\":\"reprise.v1.", method, "\"");
    for (const absl::Time end = absl::Now() + kSoon; absl::Now() < end;) {
      if (log_.Count(rpc) >= sent_[method]) return true;
      std::this_thread::yield();
    }
    return false;
  }
  int64_t Stat(const std::string& name) {
    const auto stats = client_.Stats(kTestTimeout);
    return stats.ok() ? stats->sessions().at(name) : -1;
  }

  static constexpr int64_t kBlocks = 4;
  LogFile log_{{.format = LogFormat::kJson, .level = LogLevel::kDebug}};
  const std::shared_ptr<cachestore::FaultPlan> faults_ = std::make_shared<cachestore::FaultPlan>();
  std::optional<TestServer> server_{TestServer::Options{
      .faults = faults_, .shared_memory = true, .admin = true, .log = &log_.log()}};
  CacheClient client_;
  const std::shared_ptr<grpc::Channel> channel_;
  const std::shared_ptr<grpc::Channel> admin_;
  const std::vector<uint32_t> tokens_ = TestTokens(kBlocks);
  const std::vector<uint32_t> other_tokens_ = std::vector<uint32_t>(kTestBlockTokens, 7);
  const std::string key_ = std::string(32, 'k');
  std::map<std::string, int> sent_;
  uint32_t ns_ = 0;
  uint32_t keys_ns_ = 0;
  std::unique_ptr<CacheSession> session_;
  Lease lease_;
};

TEST_F(DeadlinesTest, EveryMethodIsTriedHere) {
  std::set<std::string> tried;
  for (const auto& calls : {CallsThatWait(), CallsThatDoNot()}) {
    for (const Call& call : calls) tried.insert(absl::StrCat("/reprise.v1.", call.method));
  }
  std::vector<std::string> all = AllMethods();
  for (std::string& path : OperatorsMethods()) all.push_back(std::move(path));
  EXPECT_THAT(tried, UnorderedElementsAreArray(all));
}

TEST_F(DeadlinesTest, WhatDoesNotWaitIsAnsweredWhileTheDiskStandsStill) {
  for (const Call& call : CallsThatDoNot()) {
    const grpc::Status status = Send(call, kTestTimeout);
    EXPECT_EQ(status.error_code(), call.answer) << call.method << ": " << status.error_message();
  }
}

TEST_F(DeadlinesTest, WhatWaitsEndsForClientAndServerAndHoldsNothing) {
  for (const Call& call : CallsThatWait()) {
    const grpc::Status status = Send(call, kShort);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED)
        << call.method << " " << call.about << ": " << status.error_message();
    EXPECT_TRUE(AllReturn(call.method)) << call.method << " " << call.about << " goes on";
  }
  OpenGates();
  lease_.Release();
  session_.reset();
  const auto held = [this] {
    const cachestore::StoreStats store = server_->store().stats();
    return store.pinned_blocks + store.writing_blocks + Stat("leases") + Stat("held_bytes") +
           Stat("prefetches") + server_->server().send_budget().held_bytes();
  };
  for (const absl::Time end = absl::Now() + kSoon; held() != 0 && absl::Now() < end;) {
    std::this_thread::yield();
  }
  EXPECT_EQ(held(), 0);
  server_->server().Shutdown(absl::Now());
  const absl::Status intact = server_->store().CheckIntegrity();
  EXPECT_TRUE(intact.ok()) << intact;
}

}  // namespace
}  // namespace reprise::api
