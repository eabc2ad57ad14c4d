// SessionTest: a server whose loads a test holds back, a client's session, and a session by hand
// that renews nothing. Every test that uses it ends with nothing pinned (CacheServiceTest).
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "api/client/session.h"
#include "api/status_codec.h"
#include "tests/api/cache_service_fixture.h"

namespace reprise::api {

// A session spoken by hand: it reads events when it is told to, and renews nothing.
class RawSession {
 public:
  explicit RawSession(const std::string& address) : RawSession(ConnectTo(address)) {}
  explicit RawSession(const std::shared_ptr<grpc::Channel>& channel)
      : stub_(v1::Cache::NewStub(channel)),
        stream_(stub_->OpenSession(&context_, v1::OpenSessionRequest())) {
    id_ = NextEvent().opened().session_id();
  }
  ~RawSession() { End(); }

  // Empty: the stream has ended.
  v1::SessionEvent NextEvent() {
    v1::SessionEvent event;
    return stream_->Read(&event) ? event : v1::SessionEvent();
  }

  absl::StatusOr<v1::AcquireResponse> Acquire(uint32_t ns, const std::vector<uint32_t>& tokens,
                                              double ttl_seconds) {
    v1::AcquireRequest request;
    request.set_session_id(id_);
    request.set_namespace_id(ns);
    request.mutable_token_ids()->Assign(tokens.begin(), tokens.end());
    request.set_ttl_seconds(ttl_seconds);
    return Acquire(request);
  }
  absl::StatusOr<v1::AcquireResponse> Acquire(const v1::AcquireRequest& request) {
    grpc::ClientContext context;
    SetTimeout(kTestTimeout, &context);
    v1::AcquireResponse response;
    const grpc::Status status = stub_->Acquire(&context, request, &response);
    if (!status.ok()) return FromGrpc(status);
    return response;
  }
  absl::StatusOr<v1::RenewResponse> Renew(const std::vector<std::string>& ids, double ttl_seconds) {
    grpc::ClientContext context;
    v1::RenewRequest request;
    request.set_session_id(id_);
    request.mutable_lease_ids()->Assign(ids.begin(), ids.end());
    request.set_ttl_seconds(ttl_seconds);
    v1::RenewResponse response;
    const grpc::Status status = stub_->Renew(&context, request, &response);
    if (!status.ok()) return FromGrpc(status);
    return response;
  }
  int64_t Release(const std::vector<std::string>& ids) {
    grpc::ClientContext context;
    v1::ReleaseRequest request;
    request.set_session_id(id_);
    request.mutable_lease_ids()->Assign(ids.begin(), ids.end());
    v1::ReleaseResponse response;
    EXPECT_TRUE(stub_->Release(&context, request, &response).ok());
    return response.released();
  }
  // Ends the stream.
  grpc::Status End() {
    if (ended_) return grpc::Status::OK;
    context_.TryCancel();
    return AwaitEnd();
  }
  // How the server ends it.
  grpc::Status AwaitEnd() {
    ended_ = true;
    while (NextEvent().event_case() != v1::SessionEvent::EVENT_NOT_SET) {
    }
    return stream_->Finish();
  }
  const std::string& id() const { return id_; }

 private:
  grpc::ClientContext context_;
  const std::unique_ptr<v1::Cache::Stub> stub_;
  const std::unique_ptr<grpc::ClientReader<v1::SessionEvent>> stream_;
  std::string id_;
  bool ended_ = false;
};

class SessionTest : public CacheServiceTest {
 protected:
  static SessionLimits Limits() {
    return {.sessions = 8,
            .sessions_per_principal = 4,
            .holdings_per_session = 2000,
            .bytes_per_session = 64 * 4096,
            .bytes_per_tenant = 64 * 4096,
            .bytes = 128 * 4096,
            .unsent_events = 16,
            .usual_ttl = absl::Seconds(30),
            .max_ttl = absl::Seconds(60)};
  }
  explicit SessionTest(const SessionLimits& limits = Limits())
      : SessionTest(limits, std::make_shared<cachestore::FaultPlan>()) {}
  SessionTest(const SessionLimits& limits, std::shared_ptr<cachestore::FaultPlan> faults)
      : CacheServiceTest(
            TestServer::Options{.max_positions = 0, .session_limits = limits, .faults = faults}),
        faults_(std::move(faults)) {}

  // What a client has let go of comes to the server soon.
  ~SessionTest() override {
    for (const absl::Time end = absl::Now() + kTestTimeout; pinned() > 0 && absl::Now() < end;) {
      std::this_thread::yield();
    }
  }

  std::unique_ptr<CacheSession> OpenSession(CacheSession::Options options = {}) {
    auto session = CacheSession::Open(server_.address(), options);
    EXPECT_TRUE(session.ok()) << session.status();
    return *std::move(session);
  }
  Acquired Acquire(CacheSession& session, const v1::AcquireRequest& wanted = {}) {
    auto acquired = session.Acquire(ns_, tokens_, wanted, kTestTimeout);
    EXPECT_TRUE(acquired.ok()) << acquired.status();
    return acquired.ok() ? *std::move(acquired) : Acquired();
  }
  // Puts blocks and moves them to disk, where loads are held back.
  void PutOnDisk(int64_t num_blocks) {
    PutBlocks(num_blocks);
    // What was sent before may be pinned still.
    ASSERT_TRUE(server_.server().send_budget().AwaitIdle(absl::Now() + kTestTimeout));
    ASSERT_EQ(client_.Demote(kTestTimeout).value_or(-1), num_blocks);
    faults_->CloseLoadGate();
  }
  // The bytes of a lease, compared with what was put; how many blocks.
  int64_t GetLeased(absl::string_view session_id, const std::string& lease_id,
                    int64_t first_block = 0) {
    v1::GetRequest request;
    request.set_session_id(std::string(session_id));
    request.set_lease_id(lease_id);
    request.set_first_block(first_block);
    const auto got = client_.Get(request, kTestTimeout, [&](const v1::GetResponse& block) {
      EXPECT_EQ(block.payload(), payloads_[static_cast<size_t>(block.block_index())]);
    });
    return got.ok() ? *got : -static_cast<int64_t>(got.status().code());
  }
  int64_t Stat(const std::string& name) {
    const auto stats = client_.Stats(kTestTimeout);
    EXPECT_TRUE(stats.ok()) << stats.status();
    return stats.ok() ? stats->sessions().at(name) : -1;
  }
  int64_t pinned() { return server_.store().stats().pinned_blocks; }
  // Asks until nothing is held, or for so long; false: something still is.
  bool BecomesFree(absl::Duration within = absl::Seconds(5)) {
    for (const absl::Time end = absl::Now() + within; absl::Now() < end;) {
      if (Stat("held_bytes") == 0 && pinned() == 0) return true;
    }
    return false;
  }
  // Asks until the figure is `value`, or for so long; false: it still is another.
  bool Becomes(const std::string& name, int64_t value, absl::Duration within = kTestTimeout) {
    for (const absl::Time end = absl::Now() + within; absl::Now() < end;) {
      if (Stat(name) == value) return true;
    }
    return false;
  }

  std::shared_ptr<cachestore::FaultPlan> faults_;
};

}  // namespace reprise::api
