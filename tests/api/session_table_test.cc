// Sessions without the wire: whose they are, and what a client with shared memory may still see.
#include "api/session/session_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "api/block_source.h"
#include "tests/fakes/store_fixture.h"

namespace reprise::api {
namespace {

using cachestore::PromptTokens;

// Keeps what a session tells.
class Heard final : public SessionSink {
 public:
  void OnLease(const v1::LeaseState& state) override {
    absl::MutexLock lock(&mu_);
    states_.push_back(state);
    changed_.SignalAll();
  }
  void OnEnd(const absl::Status& status) override {
    absl::MutexLock lock(&mu_);
    end_ = status;
  }
  v1::LeaseState AwaitState(size_t number) {
    absl::MutexLock lock(&mu_);
    while (states_.size() <= number) changed_.Wait(&mu_);
    return states_[number];
  }
  absl::Status end() {
    absl::MutexLock lock(&mu_);
    return end_;
  }

 private:
  absl::Mutex mu_;
  absl::CondVar changed_;
  std::vector<v1::LeaseState> states_ ABSL_GUARDED_BY(mu_);
  absl::Status end_ ABSL_GUARDED_BY(mu_);
};

class SessionTableTest : public ::testing::Test {
 protected:
  SessionTableTest() {
    cachestore::StoreOptions options;
    options.ram.capacity_bytes = 64 * cachestore::kSlotBytes;
    store_ = *cachestore::TieredStore::Open(options);
    ns_ = *store_->OpenNamespace(cachestore::TestIdentity());
    // No block is dereferenced through it: places count from where it begins.
    arena_ = {.socket_path = "/run/arena", .bytes = {}};
    Seal();
    arena_.bytes = {first_block_, 64 * cachestore::kSlotBytes};
    table_ = std::make_unique<SessionTable>(store_.get(), limits_, arena_);
  }
  ~SessionTableTest() override {
    table_.reset();
    EXPECT_EQ(store_->stats().pinned_blocks, 0);
    EXPECT_EQ(store_->stats().writing_blocks, 0);
    EXPECT_TRUE(store_->CheckIntegrity().ok());
  }

  void Seal() {
    cachestore::BlockRef last;
    for (size_t i = 0; i < 4; ++i) {
      auto slot = store_->Allocate(ns_);
      ASSERT_TRUE(slot.ok());
      const absl::Span<const uint32_t> words = absl::MakeConstSpan(tokens_).subspan(
          i * cachestore::kBlockTokens, cachestore::kBlockTokens);
      last = store_->Seal(ns_, *std::move(slot), i == 0 ? ns_.root : last.key(), words);
      if (i == 0) first_block_ = last.bytes().data();
    }
  }
  std::shared_ptr<Session> Open(const std::string& owner = "alice", bool shared = true) {
    auto session = table_->Open(Owner(owner), shared, heard_);
    EXPECT_TRUE(session.ok()) << session.status();
    return *session;
  }
  // The one credential of a tenant.
  static SessionOwner Owner(const std::string& tenant) {
    return {.tenant = tenant, .name = tenant + "-web"};
  }
  v1::LeaseState Acquire(Session& session, double ttl_seconds = 0) {
    v1::AcquireRequest request;
    request.set_ttl_seconds(ttl_seconds);
    const auto response = session.Acquire(ns_, tokens_, request);
    EXPECT_TRUE(response.ok()) << response.status();
    return response.ok() ? response->lease() : v1::LeaseState();
  }
  int64_t pinned() { return store_->stats().pinned_blocks; }

  const SessionLimits limits_ = {.sessions = 3,
                                 .sessions_per_principal = 2,
                                 .holdings_per_session = 8,
                                 .bytes_per_session = 16 * cachestore::kSlotBytes,
                                 .bytes_per_tenant = 10 * cachestore::kSlotBytes,
                                 .bytes = 32 * cachestore::kSlotBytes,
                                 .unsent_events = 16,
                                 .usual_ttl = absl::Seconds(30),
                                 .max_ttl = absl::Seconds(60)};
  const std::vector<uint32_t> tokens_ = PromptTokens(1, 4);
  std::unique_ptr<cachestore::TieredStore> store_;
  cachestore::NamespaceHandle ns_;
  const std::byte* first_block_ = nullptr;
  SharedArena arena_;
  const std::shared_ptr<Heard> heard_ = std::make_shared<Heard>();
  std::unique_ptr<SessionTable> table_;
};

TEST_F(SessionTableTest, ToOthersASessionLooksAsIfItWereNotThere) {
  const auto session = Open("alice");
  EXPECT_EQ(*table_->Find(Owner("alice"), session->id()), session);
  const absl::Status others = table_->Find(Owner("bob"), session->id()).status();
  EXPECT_EQ(others.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(others, table_->Find(Owner("bob"), std::string(16, 'x')).status());
  // Neither the tenant nor the credential's name is enough.
  EXPECT_EQ(others, table_->Find({"alice", "bob-web"}, session->id()).status());
  EXPECT_EQ(others, table_->Find({"", "alice-web"}, session->id()).status());
  table_->Close(session);
  EXPECT_EQ(table_->Find(Owner("alice"), session->id()).status(), others);
}

TEST_F(SessionTableTest, OnePrincipalsSessionsLeaveRoomForAnothers) {
  const auto a = Open("alice");
  const auto b = Open("alice");
  EXPECT_EQ(table_->Open(Owner("alice"), false, heard_).status().code(),
            absl::StatusCode::kResourceExhausted);
  const auto c = Open("bob");
  EXPECT_EQ(table_->Open(Owner("carol"), false, heard_).status().code(),
            absl::StatusCode::kResourceExhausted);
  table_->Close(a);
  table_->Close(a);
  const auto d = Open("carol");
  EXPECT_EQ(table_->stats().sessions, 3);
}

TEST_F(SessionTableTest, WhatOneTenantHoldsLeavesRoomForAnother) {
  const auto first = Open("alice");
  EXPECT_EQ(Acquire(*first).num_blocks(), 4);
  // Whichever of its credentials: of ten slots two are left then.
  const auto second = table_->Open({"alice", "alice-engine"}, false, heard_);
  ASSERT_TRUE(second.ok());
  EXPECT_EQ(Acquire(**second).num_blocks(), 4);
  EXPECT_EQ(Acquire(**second).num_blocks(), 2);
  const absl::Status refused = (*second)->Acquire(ns_, tokens_, {}).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(refused.message()), ::testing::HasSubstr("its tenant 40960 of 40960"));
  EXPECT_EQ(Acquire(*Open("bob")).num_blocks(), 4);
  table_->Close(first);
  EXPECT_EQ(Acquire(**second).num_blocks(), 4);
}

TEST_F(SessionTableTest, PlacesOfReadyBlocksCountFromTheArenasBegin) {
  const auto session = Open();
  const v1::LeaseState lease = Acquire(*session);
  ASSERT_EQ(lease.places_size(), 4);
  const auto leased = session->BlocksOf(lease.lease_id(), {.first = 0, .count = 4});
  ASSERT_TRUE(leased.ok());
  ASSERT_EQ(leased->blocks.size(), 4u);
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(arena_.bytes.data() + lease.places(i).offset(),
              leased->blocks[static_cast<size_t>(i)].pin->bytes().data());
  }
  EXPECT_EQ(Acquire(*Open("bob", /*shared=*/false)).places_size(), 0);
}

TEST_F(SessionTableTest, AGetOfALeaseHoldsOnlyItsBatchWhenTheLeaseEnds) {
  const auto session = Open("alice", /*shared=*/false);
  const v1::LeaseState lease = Acquire(*session);
  LeaseSource source(session, lease.lease_id(), /*first_block=*/1);
  std::vector<FoundBlock> sent;
  int64_t counted = 0;  // bytes that the source asked room for
  const auto next = [&]() -> absl::Status {
    counted += source.batch_bytes();
    source.Begin([] {});
    absl::StatusOr<std::vector<FoundBlock>> batch = source.Take();
    if (!batch.ok()) return batch.status();
    for (FoundBlock& block : *batch) sent.push_back(std::move(block));
    return absl::OkStatus();
  };
  while (sent.empty()) ASSERT_TRUE(next().ok());
  EXPECT_FALSE(source.over());
  EXPECT_EQ(sent[0].index, 1);
  EXPECT_EQ(counted, static_cast<int64_t>(sent.size() * sent[0].bytes.size()));
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(session->Release({lease.lease_id()}), 1);
  EXPECT_EQ(pinned(), 1);
  EXPECT_EQ(table_->stats().held_bytes, 0);
  EXPECT_EQ(next().code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(source.over());
  sent.clear();
  EXPECT_EQ(pinned(), 0);
}

TEST_F(SessionTableTest, AGetOfALeaseSendsAllOfItAndNoMoreThanItHasRoomFor) {
  const auto session = Open("alice", /*shared=*/false);
  const v1::LeaseState lease = Acquire(*session);
  LeaseSource source(session, lease.lease_id(), /*first_block=*/0);
  std::vector<int64_t> sent;
  while (!source.over()) {
    const int64_t room = source.batch_bytes();
    source.Begin([] {});
    const auto batch = source.Take();
    ASSERT_TRUE(batch.ok()) << batch.status();
    int64_t bytes = 0;
    for (const FoundBlock& block : *batch) {
      sent.push_back(block.index);
      bytes += static_cast<int64_t>(block.bytes.size());
    }
    EXPECT_EQ(bytes, room);
  }
  EXPECT_EQ(sent, (std::vector<int64_t>{0, 1, 2, 3}));
  LeaseSource behind(session, lease.lease_id(), /*first_block=*/9);
  behind.Begin([] {});
  EXPECT_TRUE(behind.Take()->empty());
  EXPECT_TRUE(behind.over());
}

TEST_F(SessionTableTest, WhatAConnectedClientSawStaysAfterItsLeaseHasExpired) {
  const auto session = Open();
  auto anchor = table_->Anchor(session->id());
  ASSERT_TRUE(anchor.ok());
  const v1::LeaseState lease = Acquire(*session, 0.01);
  EXPECT_EQ(heard_->AwaitState(0).phase(), v1::LEASE_PHASE_ENDED);
  EXPECT_EQ(session->BlocksOf(lease.lease_id(), {}).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(pinned(), 4);
  EXPECT_EQ(table_->stats().held_bytes, 4 * cachestore::kSlotBytes);
  EXPECT_EQ(table_->stats().leases, 0);
  anchor->reset();
  EXPECT_EQ(pinned(), 0);
  EXPECT_EQ(table_->stats().held_bytes, 0);
}

TEST_F(SessionTableTest, WithoutAConnectionNothingStays) {
  const auto session = Open();
  { ASSERT_TRUE(table_->Anchor(session->id()).ok()); }
  Acquire(*session, 0.01);
  heard_->AwaitState(0);
  EXPECT_EQ(pinned(), 0);
}

TEST_F(SessionTableTest, WhatAClientReleasesGoesAtOnce) {
  const auto session = Open();
  const auto anchor = table_->Anchor(session->id());
  const v1::LeaseState lease = Acquire(*session);
  EXPECT_EQ(session->Release({lease.lease_id()}), 1);
  EXPECT_EQ(pinned(), 0);
}

// Asks a session while the store's lock is held for the end of a request.
class AsksAtTheEnd final : public cachestore::RequestObserver {
 public:
  explicit AsksAtTheEnd(std::shared_ptr<Session> session) : session_(std::move(session)) {}
  ~AsksAtTheEnd() override {
    if (asker_.joinable()) asker_.join();
  }

  void OnRequest(const cachestore::StoreRequest& /*request*/) override {}
  void OnEnd(const cachestore::StoreRequestEnd& end) override {
    ended_blocks_ = static_cast<int64_t>(end.keys.size());
    asker_ = std::thread([this] {
      EXPECT_TRUE(session_->Info().has_value());
      answered_.Notify();
    });
    in_time_ = answered_.WaitForNotificationWithTimeout(absl::Seconds(10));
  }
  int64_t ended_blocks() const { return ended_blocks_; }
  bool answered_in_time() const { return in_time_; }

 private:
  const std::shared_ptr<Session> session_;
  absl::Notification answered_;
  std::thread asker_;
  int64_t ended_blocks_ = 0;
  bool in_time_ = false;
};

TEST_F(SessionTableTest, ASessionAnswersWhileTheStoreHearsHowItsRequestsEnded) {
  const auto session = Open();
  const v1::LeaseState lease = Acquire(*session);
  const auto asks = std::make_shared<AsksAtTheEnd>(session);
  store_->Watch(asks);
  const cachestore::RequestEnd end = {.hints = {}, .output_tokens = 7};
  EXPECT_EQ(session->Release({lease.lease_id()}, &end), 1);
  store_->Watch(nullptr);
  EXPECT_EQ(asks->ended_blocks(), 4) << "the blocks are pinned until the store has heard";
  EXPECT_TRUE(asks->answered_in_time());
}

TEST_F(SessionTableTest, AnEndedSessionIsThereUntilTheLastConnectionHasGone) {
  const auto session = Open();
  auto first = table_->Anchor(session->id());
  auto second = table_->Anchor(session->id());
  Acquire(*session);
  const auto slots = session->Grant(ns_, 2);
  ASSERT_TRUE(slots.ok());
  table_->Close(session);
  EXPECT_EQ(table_->Anchor(session->id()).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(session->Acquire(ns_, tokens_, {}).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(session->Grant(ns_, 1).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(session->TakeGrant(ns_, slots->front().grant_id()).status().code(),
            absl::StatusCode::kNotFound);
  first->reset();
  // No slot that the client may still write into is used by anyone.
  EXPECT_EQ(pinned(), 4);
  EXPECT_EQ(store_->stats().writing_blocks, 2);
  EXPECT_EQ(table_->stats().sessions, 1);
  second->reset();
  EXPECT_EQ(pinned(), 0);
  EXPECT_EQ(store_->stats().writing_blocks, 0);
  EXPECT_EQ(table_->stats().sessions, 0);
  EXPECT_EQ(table_->stats().held_bytes, 0);
}

TEST_F(SessionTableTest, AGrantIsTakenOnceByItsSessionAndInItsNamespace) {
  const auto session = Open();
  const auto slots = session->Grant(ns_, 3);
  ASSERT_TRUE(slots.ok());
  ASSERT_EQ(slots->size(), 3u);
  EXPECT_EQ(table_->stats().grants, 3);
  const std::string id = slots->front().grant_id();
  const auto other = *store_->OpenNamespace(cachestore::TestIdentity("bob"));
  const auto renewed = session->Renew({id, "no such grant"}, 60);
  ASSERT_TRUE(renewed.ok());
  EXPECT_EQ(renewed->at(0).phase(), v1::LEASE_PHASE_READY);
  EXPECT_EQ(renewed->at(1).phase(), v1::LEASE_PHASE_ENDED);
  EXPECT_FALSE(session->TakeGrant(other, id).ok());
  EXPECT_FALSE(Open("bob")->TakeGrant(ns_, id).ok());
  auto block = session->TakeGrant(ns_, id);
  ASSERT_TRUE(block.ok());
  EXPECT_EQ(arena_.bytes.data() + slots->front().offset(), block->bytes().data());
  EXPECT_FALSE(session->TakeGrant(ns_, id).ok());
  EXPECT_EQ(session->Release({slots->at(1).grant_id(), id}), 1);
  EXPECT_EQ(store_->stats().writing_blocks, 2);
  table_->Close(session);
}

TEST_F(SessionTableTest, WhatNobodyRenewsGoesAfterTheTimeOfItsSession) {
  for (const absl::Duration ttl : {limits_.usual_ttl, absl::Seconds(50)}) {
    const auto session = Open();
    if (ttl != limits_.usual_ttl) session->SetMaxTtl(ttl);
    EXPECT_EQ(session->max_ttl(), ttl);
    const absl::Time begin = absl::Now();
    Acquire(*session);
    Acquire(*session, 60);  // more than it may
    ASSERT_TRUE(session->Grant(ns_, 1).ok());
    session->Expire(begin + ttl - absl::Milliseconds(1));
    EXPECT_EQ(table_->stats().leases + table_->stats().grants, 3);
    session->Expire(absl::Now() + ttl);
    EXPECT_EQ(table_->stats().held_bytes, 0);
    EXPECT_EQ(pinned() + store_->stats().writing_blocks, 0);
    table_->Close(session);
  }
}

TEST_F(SessionTableTest, GrantsAreBoundedAndRefused) {
  const auto session = Open();
  EXPECT_EQ(session->Grant(ns_, 100)->size(), 8u);  // holdings_per_session
  EXPECT_EQ(session->Grant(ns_, 1).status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(session->Acquire(ns_, tokens_, {}).status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(session->Grant(ns_, 0).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Open("bob", /*shared=*/false)->Grant(ns_, 1).status().code(),
            absl::StatusCode::kFailedPrecondition);
  table_->Close(session);
}

TEST_F(SessionTableTest, EndAllEndsEverySessionAndOpensNoMore) {
  const auto session = Open();
  Acquire(*session);
  table_->EndAll(absl::UnavailableError("over"));
  EXPECT_EQ(heard_->end(), absl::UnavailableError("over"));
  EXPECT_EQ(pinned(), 0);
  EXPECT_EQ(table_->Open(Owner("alice"), false, heard_).status(), absl::UnavailableError("over"));
}

}  // namespace
}  // namespace reprise::api
