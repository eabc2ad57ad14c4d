// Sessions and leases, by the real server.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "absl/synchronization/notification.h"
#include "api/identity_codec.h"
#include "cachestore/block/block_key.h"
#include "tests/api/session_fixture.h"
#include "tests/api/small_window.h"

namespace reprise::api {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

TEST_F(SessionTest, ALeaseHoldsWhatIsCachedUntilItIsReleased) {
  PutBlocks(5);
  const auto session = OpenSession();
  Acquired acquired = Acquire(*session);
  const v1::LeaseState& state = acquired.response.lease();
  EXPECT_EQ(state.phase(), v1::LEASE_PHASE_READY);
  EXPECT_EQ(state.first_block(), 0);
  EXPECT_EQ(state.num_blocks(), 5);
  EXPECT_EQ(state.places_size(), 0);
  EXPECT_EQ(acquired.response.match().ram_blocks(), 5);
  EXPECT_EQ(acquired.response.advice(), v1::LOAD_ADVICE_UNSPECIFIED);
  EXPECT_EQ(pinned(), 5);
  EXPECT_EQ(Stat("held_bytes"), 5 * 4096);
  EXPECT_EQ(GetLeased(session->id(), acquired.lease.id()), 5);
  EXPECT_EQ(GetLeased(session->id(), acquired.lease.id(), 3), 2);

  const std::string id = acquired.lease.id();
  acquired.lease.Release();
  EXPECT_TRUE(session->Flush(kTestTimeout).ok());
  EXPECT_TRUE(BecomesFree());
  EXPECT_EQ(GetLeased(session->id(), id), -static_cast<int64_t>(absl::StatusCode::kNotFound));
  EXPECT_EQ(Stat("acquired_leases"), 1);
  EXPECT_EQ(Stat("released_leases"), 1);
}

TEST_F(SessionTest, ALeaseOfARangeHoldsItAlone) {
  PutBlocks(6);
  const auto session = OpenSession();
  v1::AcquireRequest wanted;
  wanted.set_first_block(2);
  wanted.set_max_blocks(3);
  const Acquired acquired = Acquire(*session, wanted);
  EXPECT_EQ(acquired.response.lease().first_block(), 2);
  EXPECT_EQ(acquired.response.lease().num_blocks(), 3);
  EXPECT_EQ(acquired.response.match().ram_blocks(), 6);
  EXPECT_EQ(pinned(), 3);
  EXPECT_EQ(GetLeased(session->id(), acquired.lease.id()), 3);
}

TEST_F(SessionTest, AVeryLongPromptIsAnsweredLikeAnyOther) {
  PutBlocks(3);
  tokens_.resize(kMaxQuickTokens + 1, 5);
  EXPECT_EQ(MatchedBlocks(tokens_), 3);
  const auto session = OpenSession();
  EXPECT_EQ(Acquire(*session).response.lease().num_blocks(), 3);
  EXPECT_EQ(client_.Match(ns_ + 1, tokens_, kTestTimeout).status().code(),
            absl::StatusCode::kNotFound);
}

TEST_F(SessionTest, NothingCachedIsNoLeaseAndNoError) {
  PutBlocks(2);
  const auto session = OpenSession();
  v1::AcquireRequest behind;
  behind.set_first_block(2);
  EXPECT_FALSE(Acquire(*session, behind).lease);
  behind.set_first_block(1 << 20);
  EXPECT_FALSE(Acquire(*session, behind).lease);
  tokens_ = std::vector<uint32_t>(3 * kTestBlockTokens, 5);
  const Acquired acquired = Acquire(*session);
  EXPECT_FALSE(acquired.lease);
  EXPECT_FALSE(acquired.response.has_lease());
  EXPECT_EQ(Stat("leases"), 0);
}

TEST_F(SessionTest, ALeaseOfBlocksOnDiskBecomesReadyWithoutAnyoneWaiting) {
  PutOnDisk(4);
  absl::Notification told;
  const auto session = OpenSession({.on_lease = [&](const v1::LeaseState& state) {
    EXPECT_EQ(state.phase(), v1::LEASE_PHASE_READY);
    told.Notify();
  }});
  const Acquired acquired = Acquire(*session);
  EXPECT_EQ(acquired.response.lease().phase(), v1::LEASE_PHASE_LOADING);
  EXPECT_EQ(acquired.response.lease().num_blocks(), 4);
  EXPECT_EQ(acquired.response.match().disk_blocks(), 4);
  EXPECT_EQ(acquired.lease.state().phase(), v1::LEASE_PHASE_LOADING);
  // Who gets its blocks waits for them.
  std::thread reader([&] { EXPECT_EQ(GetLeased(session->id(), acquired.lease.id()), 4); });
  faults_->AwaitLoads(1);
  faults_->OpenLoadGate();
  EXPECT_EQ(acquired.lease.Wait(absl::Now() + kTestTimeout).phase(), v1::LEASE_PHASE_READY);
  reader.join();
  told.WaitForNotification();
  EXPECT_EQ(pinned(), 4);
}

TEST_F(SessionTest, WhoAsksIsToldWhenALeaseLoadsNoMore) {
  PutOnDisk(2);
  RawSession raw(server_.address());
  const auto acquired = raw.Acquire(ns_, tokens_, 0);
  ASSERT_TRUE(acquired.ok());
  const std::string id = acquired->lease().lease_id();
  SessionTable& table = server_.server().sessions();
  const auto session = table.Find({"", "local"}, raw.id());
  ASSERT_TRUE(session.ok()) << session.status();
  absl::Notification loaded;
  (*session)->WhenSettled(id, &loaded, [&] { loaded.Notify(); });
  EXPECT_EQ((*session)->BlocksOf(id, {}).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_FALSE(loaded.HasBeenNotified());
  faults_->OpenLoadGate();
  loaded.WaitForNotification();
  EXPECT_TRUE((*session)->BlocksOf(id, {}).ok());
  absl::Notification at_once;
  (*session)->WhenSettled("no such lease", &at_once, [&] { at_once.Notify(); });
  at_once.WaitForNotification();
}

TEST_F(SessionTest, WhoAsksIsToldWhenTheSessionEnds) {
  PutOnDisk(2);
  RawSession raw(server_.address());
  const auto acquired = raw.Acquire(ns_, tokens_, 0);
  ASSERT_TRUE(acquired.ok());
  const auto session = server_.server().sessions().Find({"", "local"}, raw.id());
  ASSERT_TRUE(session.ok()) << session.status();
  absl::Notification ended;
  (*session)->WhenSettled(acquired->lease().lease_id(), &ended, [&] { ended.Notify(); });
  raw.End();
  ended.WaitForNotification();
  faults_->OpenLoadGate();
}

TEST_F(SessionTest, ABadBlockMakesALeaseShorter) {
  const auto identity = FromProto(TestIdentity());
  ASSERT_TRUE(identity.ok());
  cachestore::BlockKey key = server_.store().OpenNamespace(*identity)->root;
  PutOnDisk(4);
  for (size_t i = 0; i < 3; ++i) {
    key = cachestore::ChildKey(
        key, absl::MakeConstSpan(tokens_).subspan(i * kTestBlockTokens, kTestBlockTokens));
  }
  faults_->FailLoadsOf(key, absl::DataLossError("flipped"));
  const auto session = OpenSession();
  const Acquired acquired = Acquire(*session);
  EXPECT_EQ(acquired.response.lease().num_blocks(), 4);
  faults_->OpenLoadGate();
  const v1::LeaseState state = acquired.lease.Wait(absl::Now() + kTestTimeout);
  EXPECT_EQ(state.phase(), v1::LEASE_PHASE_READY);
  EXPECT_EQ(state.num_blocks(), 2);
  EXPECT_EQ(Stat("held_bytes"), 2 * 4096);
}

TEST_F(SessionTest, ALeaseOfWhichNothingCanBeLoadedEnds) {
  PutOnDisk(3);
  faults_->FailOneLoadIn(1, absl::DataLossError("flipped"));
  const auto session = OpenSession();
  const Acquired acquired = Acquire(*session);
  faults_->OpenLoadGate();
  EXPECT_EQ(acquired.lease.Wait(absl::Now() + kTestTimeout).phase(), v1::LEASE_PHASE_ENDED);
  EXPECT_EQ(Stat("failed_leases"), 1);
  EXPECT_TRUE(BecomesFree());
}

TEST_F(SessionTest, ALeaseThatIsNotRenewedExpiresAndIsToldOf) {
  PutBlocks(3);
  RawSession session(server_.address());
  const auto lasting = session.Acquire(ns_, tokens_, 60);
  const auto brief = session.Acquire(ns_, tokens_, 0.05);
  ASSERT_TRUE(lasting.ok() && brief.ok());
  EXPECT_LE(brief->lease().expires_in_seconds(), 0.05);
  const v1::SessionEvent event = session.NextEvent();
  EXPECT_EQ(event.lease().lease_id(), brief->lease().lease_id());
  EXPECT_EQ(event.lease().phase(), v1::LEASE_PHASE_ENDED);
  EXPECT_EQ(pinned(), 3);
  // What has expired is not extended, and counts as released.
  const std::vector<std::string> both = {brief->lease().lease_id(), lasting->lease().lease_id()};
  const auto renewed = session.Renew(both, 0);
  ASSERT_TRUE(renewed.ok());
  ASSERT_THAT(renewed->leases(), SizeIs(2));
  EXPECT_EQ(renewed->leases(0).phase(), v1::LEASE_PHASE_ENDED);
  EXPECT_EQ(renewed->leases(1).phase(), v1::LEASE_PHASE_READY);
  EXPECT_EQ(session.Release(both), 1);
  EXPECT_EQ(session.Release(both), 0);
  EXPECT_TRUE(BecomesFree());
  EXPECT_EQ(Stat("expired_leases"), 1);
}

TEST_F(SessionTest, ALeaseThatExpiresWhileItLoadsGivesUpItsLoad) {
  PutOnDisk(3);
  RawSession session(server_.address());
  ASSERT_TRUE(session.Acquire(ns_, tokens_, 0.05).ok());
  EXPECT_EQ(session.NextEvent().lease().phase(), v1::LEASE_PHASE_ENDED);
  EXPECT_EQ(Stat("held_bytes"), 0);
  faults_->OpenLoadGate();
  EXPECT_TRUE(BecomesFree());
}

TEST_F(SessionTest, AClientsSessionRenewsItsLeases) {
  PutBlocks(2);
  // It is renewed each third of that, and a thread may be late by the rest.
  const auto session = OpenSession({.ttl = absl::Seconds(4)});
  const Acquired acquired = Acquire(*session);
  EXPECT_LE(acquired.response.lease().expires_in_seconds(), 4);
  // A lease that nobody renews measures the time.
  RawSession clock(server_.address());
  ASSERT_TRUE(clock.Acquire(ns_, tokens_, 10).ok());
  EXPECT_EQ(clock.NextEvent().lease().phase(), v1::LEASE_PHASE_ENDED);
  EXPECT_EQ(acquired.lease.state().phase(), v1::LEASE_PHASE_READY);
  EXPECT_EQ(GetLeased(session->id(), acquired.lease.id()), 2);
}

TEST_F(SessionTest, ASessionMayAskForMoreThanTheUsualTime) {
  const auto granted = [this](absl::Duration ttl) {
    return OpenSession({.ttl = ttl})->opened().max_ttl_seconds();
  };
  EXPECT_EQ(granted(absl::ZeroDuration()), 30);
  EXPECT_EQ(granted(absl::Seconds(45)), 45);
  EXPECT_EQ(granted(absl::Minutes(2)), 60);
  EXPECT_EQ(CacheSession::Open(server_.address(), {.ttl = -absl::Seconds(1)}).status().code(),
            absl::StatusCode::kInvalidArgument);
  PutBlocks(1);
  const auto session = OpenSession({.ttl = absl::Seconds(45)});
  EXPECT_GT(Acquire(*session).response.lease().expires_in_seconds(), 30);
}

TEST_F(SessionTest, LeasesEndWithTheirSession) {
  PutBlocks(3);
  auto session = OpenSession();
  const Acquired acquired = Acquire(*session);
  EXPECT_EQ(pinned(), 3);
  const std::string id(session->id());
  session.reset();
  EXPECT_TRUE(BecomesFree());
  EXPECT_EQ(acquired.lease.state().phase(), v1::LEASE_PHASE_ENDED);
  EXPECT_EQ(GetLeased(id, acquired.lease.id()), -static_cast<int64_t>(absl::StatusCode::kNotFound));
  EXPECT_TRUE(Becomes("sessions", 0));
  EXPECT_EQ(Stat("orphaned_leases"), 1);
}

TEST_F(SessionTest, AClientThatReadsNoEventsLosesItsSession) {
  PutBlocks(1);
  RawSession session(ConnectWithWindow(server_.address(), 1 << 16));
  absl::Status status;
  // The window takes some thousands before events come to wait.
  for (int i = 0; i < 200000 && !absl::IsNotFound(status); ++i) {
    status = session.Acquire(ns_, tokens_, 1e-6).status();
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(BecomesFree());
  EXPECT_TRUE(Becomes("sessions", 0));
  EXPECT_EQ(session.AwaitEnd().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
}

TEST_F(SessionTest, ASessionHoldsAsManyBytesAsItMay) {
  PutBlocks(100);
  const auto session = OpenSession();
  EXPECT_EQ(session->opened().max_lease_bytes(), 64 * 4096);
  Acquired first = Acquire(*session);
  EXPECT_EQ(first.response.lease().num_blocks(), 64);
  EXPECT_EQ(first.response.match().ram_blocks(), 100);
  const auto refused = session->Acquire(ns_, tokens_, {}, kTestTimeout);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("262144"));
  // Of all sessions together, as many as all of them may.
  const auto second = OpenSession();
  const Acquired held = Acquire(*second);
  EXPECT_EQ(held.response.lease().num_blocks(), 64);
  const auto third = OpenSession();
  EXPECT_EQ(third->Acquire(ns_, tokens_, {}, kTestTimeout).status().code(),
            absl::StatusCode::kResourceExhausted);
  first.lease.Release();
  EXPECT_TRUE(session->Flush(kTestTimeout).ok());
  for (bool free = false; !free;) free = Stat("leases") == 1;
  EXPECT_EQ(Acquire(*third).response.lease().num_blocks(), 64);
}

TEST_F(SessionTest, TooManySessionsAreRefused) {
  std::vector<std::unique_ptr<CacheSession>> sessions;
  for (int i = 0; i < 4; ++i) sessions.push_back(OpenSession());
  EXPECT_EQ(CacheSession::Open(server_.address(), {}).status().code(),
            absl::StatusCode::kResourceExhausted);
  sessions.pop_back();
  for (bool free = false; !free;) free = Stat("sessions") == 3;
  sessions.push_back(OpenSession());
}

TEST_F(SessionTest, FieldsOutOfRangeAreRefused) {
  RawSession session(server_.address());
  v1::AcquireRequest request;
  request.set_session_id(session.id());
  request.set_namespace_id(ns_);
  const auto code = [&](const v1::AcquireRequest& changed) {
    return session.Acquire(changed).status().code();
  };
  EXPECT_EQ(code(request), absl::StatusCode::kOk);
  v1::AcquireRequest changed = request;
  changed.set_first_block(-1);
  EXPECT_EQ(code(changed), absl::StatusCode::kInvalidArgument);
  changed = request;
  changed.set_max_blocks(-1);
  EXPECT_EQ(code(changed), absl::StatusCode::kInvalidArgument);
  changed = request;
  changed.set_ttl_seconds(-1);
  EXPECT_EQ(code(changed), absl::StatusCode::kInvalidArgument);
  changed.set_ttl_seconds(std::numeric_limits<double>::quiet_NaN());
  EXPECT_EQ(code(changed), absl::StatusCode::kInvalidArgument);
  changed = request;
  changed.set_follow_advice(true);
  EXPECT_EQ(code(changed), absl::StatusCode::kInvalidArgument);
  changed.mutable_prefill()->set_tokens_per_second(0);
  EXPECT_EQ(code(changed), absl::StatusCode::kInvalidArgument);
  changed = request;
  changed.set_namespace_id(ns_ + 1);
  EXPECT_EQ(code(changed), absl::StatusCode::kNotFound);
  changed = request;
  changed.set_session_id("sixteen bytes...");
  EXPECT_EQ(code(changed), absl::StatusCode::kNotFound);
  EXPECT_EQ(session.Renew({}, -1).status().code(), absl::StatusCode::kInvalidArgument);
  v1::OpenSessionRequest shared;
  EXPECT_EQ(CacheSession::Open(server_.address(), {.shared_memory = true}).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST_F(SessionTest, AdviceThatIsFollowedHoldsOnlyWhatIsLoaded) {
  PutBlocks(4);
  const auto session = OpenSession();
  v1::AcquireRequest wanted;
  wanted.mutable_prefill()->set_tokens_per_second(1);
  wanted.set_follow_advice(true);
  const Acquired ready = Acquire(*session, wanted);
  EXPECT_EQ(ready.response.advice(), v1::LOAD_ADVICE_LOAD);
  EXPECT_EQ(ready.response.advised_blocks(), 4);
  EXPECT_EQ(ready.response.lease().num_blocks(), 4);
  EXPECT_EQ(ready.response.load_time().p50_seconds(), 0);
  EXPECT_EQ(Stat("advised_loads"), 1);
  tokens_ = std::vector<uint32_t>(kTestBlockTokens, 5);
  const Acquired nothing = Acquire(*session, wanted);
  EXPECT_EQ(nothing.response.advice(), v1::LOAD_ADVICE_RECOMPUTE);
  EXPECT_FALSE(nothing.lease);
  EXPECT_EQ(Stat("advised_recomputes"), 1);
}

// Loads of which the first has told how fast the tier is; the next ones hang.
class ForetoldLoadTest : public SessionTest {
 protected:
  ForetoldLoadTest() : session_(OpenSession()) {
    PutOnDisk(4);
    faults_->OpenLoadGate();
    {
      const Acquired first = Acquire(*session_);
      first.lease.Wait(absl::InfiniteFuture());
    }
    EXPECT_TRUE(session_->Flush(kTestTimeout).ok());
    EXPECT_TRUE(BecomesFree());
    EXPECT_EQ(client_.Demote(kTestTimeout).value_or(-1), 4);
    faults_->CloseLoadGate();
  }

  const std::unique_ptr<CacheSession> session_;
};

TEST_F(ForetoldLoadTest, ALoadThatWasAdvisedAndTakesLongerThanComputingIsRegretted) {
  v1::AcquireRequest wanted;
  wanted.mutable_prefill()->set_tokens_per_second(4 * kTestBlockTokens / 5.0);
  wanted.set_follow_advice(true);
  const Acquired acquired = Acquire(*session_, wanted);
  EXPECT_EQ(acquired.response.advice(), v1::LOAD_ADVICE_LOAD);
  EXPECT_GT(acquired.response.load_time().p50_seconds(), 0);
  EXPECT_GE(acquired.response.load_time().p90_seconds(),
            acquired.response.load_time().p50_seconds());
  // Longer than the blocks take to be computed: a lease that nobody renews measures the time.
  RawSession clock(server_.address());
  ASSERT_TRUE(clock.Acquire(ns_, tokens_, 5.1).ok());
  EXPECT_EQ(clock.NextEvent().lease().phase(), v1::LEASE_PHASE_ENDED);
  faults_->OpenLoadGate();
  EXPECT_EQ(acquired.lease.Wait(absl::InfiniteFuture()).num_blocks(), 4);
  EXPECT_EQ(Stat("foretold_loads"), 1);
  EXPECT_EQ(Stat("late_loads"), 1);
  EXPECT_EQ(Stat("regretted_loads"), 1);
  EXPECT_GT(Stat("advice_regret_us"), 0);
  EXPECT_GT(Stat("real_load_us"), 5000000);
  EXPECT_EQ(Stat("ignored_advice"), 0);
}

TEST_F(ForetoldLoadTest, WhoLoadsAgainstTheAdviceRegretsNothing) {
  // Computing would have been over at once.
  v1::AcquireRequest wanted;
  wanted.mutable_prefill()->set_tokens_per_second(1e9);
  const Acquired acquired = Acquire(*session_, wanted);
  EXPECT_EQ(acquired.response.advice(), v1::LOAD_ADVICE_RECOMPUTE);
  EXPECT_EQ(acquired.response.advised_blocks(), 0);
  ASSERT_TRUE(acquired.lease);
  faults_->OpenLoadGate();
  EXPECT_EQ(acquired.lease.Wait(absl::InfiniteFuture()).num_blocks(), 4);
  EXPECT_EQ(Stat("foretold_loads"), 1);
  EXPECT_GT(Stat("real_load_us"), 0);
  EXPECT_EQ(Stat("regretted_loads"), 0);
  EXPECT_EQ(Stat("advice_regret_us"), 0);
  EXPECT_EQ(Stat("ignored_advice"), 1);
}

TEST_F(SessionTest, SessionsDoNotHoldUpTheServersEnd) {
  PutBlocks(2);
  absl::Notification ended;
  const auto session = OpenSession({.on_end = [&](const absl::Status& status) {
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
    ended.Notify();
  }});
  const Acquired acquired = Acquire(*session);
  server_.server().Shutdown(absl::InfiniteFuture());
  ended.WaitForNotification();
  EXPECT_EQ(acquired.lease.Wait(absl::Now() + kTestTimeout).phase(), v1::LEASE_PHASE_ENDED);
  EXPECT_EQ(pinned(), 0);
}

// The callback of a client, an event of the server and a call that has not returned yet may come in
// any order; whatever they do, nothing stays held.
TEST_F(SessionTest, AThousandAcquiresByManyThreadsLeaveNothingHeld) {
  PutBlocks(8);
  ASSERT_TRUE(client_.Demote(kTestTimeout).ok());
  const std::vector<uint32_t> tokens = tokens_;
  std::vector<std::thread> clients;
  for (int c = 0; c < 4; ++c) {
    clients.emplace_back([&, c] {
      const auto session = OpenSession({.ttl = absl::Milliseconds(c % 2 == 0 ? 20 : 60000)});
      std::vector<Lease> held;
      for (int i = 0; i < 250; ++i) {
        v1::AcquireRequest wanted;
        wanted.set_first_block(i % 5);
        wanted.set_max_blocks(1 + i % 4);
        auto acquired = session->Acquire(ns_, tokens, wanted, kTestTimeout);
        ASSERT_TRUE(acquired.ok() || absl::IsResourceExhausted(acquired.status()))
            << acquired.status();
        if (acquired.ok() && i % 3 == 0) acquired->lease.Wait(absl::Now() + kTestTimeout);
        if (acquired.ok()) held.push_back(std::move(acquired->lease));
        if (held.size() > 6) held.erase(held.begin() + i % 6);
        if (i % 50 == 0 && c == 0) client_.Demote(kTestTimeout).IgnoreError();
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_TRUE(BecomesFree());
  EXPECT_EQ(Stat("leases"), 0);
  EXPECT_TRUE(Becomes("sessions", 0));
  EXPECT_GT(Stat("acquired_leases"), 300);
  // A lease is counted a moment after its pins have gone.
  const auto ended = [this] {
    return Stat("released_leases") + Stat("expired_leases") + Stat("orphaned_leases") +
           Stat("failed_leases");
  };
  const absl::Time deadline = absl::Now() + kTestTimeout;
  while (ended() < Stat("acquired_leases") && absl::Now() < deadline) {
  }
  EXPECT_EQ(ended(), Stat("acquired_leases"));
}

}  // namespace
}  // namespace reprise::api
