// Clients and servers that are killed (-9) at random moments in the middle of transfers over both
// data planes: nothing acknowledged is lost (of what was on disk, for a server), every byte that is
// read is right, and nothing stays held: no session, lease, grant, pin or slot.
//
// In short form in the suite; REPRISE_FULL_FAULTS: 250 kills of each (tests/faults.sh service).
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "api/client/session.h"
#include "tests/fakes/test_seed.h"
#include "tests/process/service_process.h"

namespace reprise::api {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// How long what a dead client held may stay held.
constexpr absl::Duration kFreeWithin = absl::Seconds(5);
// What a disk folder takes before a new one is begun; nothing is evicted.
constexpr int kRoundsPerFolder = 10;
constexpr char kAmpleDisk[] = "4GiB";

bool IsFull() { return std::getenv("REPRISE_FULL_FAULTS") != nullptr; }
int NumRounds() { return IsFull() ? 250 : 8; }
// Of the short form, whose rounds are few and whose machine may be slow, one.
int AtLeast(int of_full) { return IsFull() ? of_full : 1; }

class ServiceKillTest : public ::testing::Test {
 protected:
  // Runs a client, lets it work until it says `achieved` (empty: not so long), then for a random
  // time, and calls `crash`, which ends it; what it said.
  template <typename Crash>
  Said RunClient(ServiceProcess& service, const std::string& flags, int exit_code,
                 const std::string& achieved, const Crash& crash) {
    const auto client = service.StartClient(++num_clients_, flags);
    EXPECT_EQ(client->AwaitLine("ready"), "");
    if (!achieved.empty()) {
      EXPECT_NE(client->AwaitLine(achieved), "");
    }
    const int milliseconds = std::uniform_int_distribution<int>(5, 150)(random_);
    EXPECT_TRUE(client->ReadUntil(absl::Now() + absl::Milliseconds(milliseconds)))
        << "the client ended by itself: " << client->ReadErrors();
    crash(*client);
    const Said said(client->ReadAll());
    const std::string errors = client->ReadErrors();
    EXPECT_EQ(client->Wait(), exit_code) << errors;
    for (const std::string& operation : said.under_way) ++kills_during_[operation];
    operations_ += said.operations;
    return said;
  }
  // Each kind of work was under way at some of the kills: in the full form, at one of 25 at least.
  void ExpectMidTransfer() {
    int kills = 0;
    for (const char* operation : {"put", "get", "acquire", "seal"}) {
      if (IsFull()) {
        EXPECT_GE(kills_during_[operation], NumRounds() / 25) << operation;
      }
      kills += kills_during_[operation];
    }
    EXPECT_GE(kills, AtLeast(NumRounds() / 2));
  }
  void Report(const std::string& what) {
    std::cout << NumRounds() << " kills of " << what << " after " << operations_ << " operations;";
    for (const auto& [operation, kills] : kills_during_) {
      std::cout << " during " << operation << " " << kills << ",";
    }
    std::cout << " " << verified_ << " blocks verified, of them " << kept_
              << " acknowledged chains whole; slowest release " << slowest_release_ << std::endl;
  }

  std::mt19937_64 random_{TestSeed()};
  uint64_t num_clients_ = 0;
  std::map<std::string, int> kills_during_;
  int64_t operations_ = 0;
  int64_t verified_ = 0;
  size_t kept_ = 0;
  absl::Duration slowest_release_;
};

TEST_F(ServiceKillTest, KilledClientsLoseNothingAcknowledgedAndLeaveNothingHeld) {
  std::unique_ptr<ServiceProcess> service;
  for (int round = 0; round < NumRounds(); ++round) {
    SCOPED_TRACE(absl::StrCat("round ", round));
    if (round % kRoundsPerFolder == 0) service = std::make_unique<ServiceProcess>(kAmpleDisk);
    const std::string flags = round % 4 == 0 ? "d" : "md";
    const Said said = RunClient(*service, flags, 128 + SIGKILL, round == 0 ? "acked " : "",
                                [](ChildProcess& client) { client.Signal(SIGKILL); });
    const absl::Time killed = absl::Now();
    ASSERT_EQ(HeldAfter(service->client(), kFreeWithin), "");
    slowest_release_ = std::max(slowest_release_, absl::Now() - killed);
    ASSERT_THAT(service->Verify(said, said.acked, &verified_), IsEmpty());
    ASSERT_EQ(HeldAfter(service->client(), kFreeWithin), "");
    kept_ += said.acked.size();
  }
  Report("clients");
  ExpectMidTransfer();
  EXPECT_GE(kept_, static_cast<size_t>(AtLeast(NumRounds())));
}

TEST_F(ServiceKillTest, KilledServersLoseNothingThatWasOnDisk) {
  std::unique_ptr<ServiceProcess> service;
  Said all("\n");
  for (int round = 0; round < NumRounds(); ++round) {
    SCOPED_TRACE(absl::StrCat("round ", round));
    if (round % kRoundsPerFolder == 0) {
      service = std::make_unique<ServiceProcess>(kAmpleDisk);
      all = Said("\n");
    }
    const Said said = RunClient(*service, round % 4 == 0 ? "d" : "md", 0,
                                round == 0 ? "durable " : "", [&](ChildProcess&) {
                                  service->process().Signal(SIGKILL);
                                  EXPECT_EQ(service->process().Wait(), 128 + SIGKILL);
                                });
    ASSERT_THAT(said.wrong, IsEmpty());
    all.putting.insert(said.putting.begin(), said.putting.end());
    all.durable.insert(said.durable.begin(), said.durable.end());
    kept_ += said.durable.size();
    service->Start();
    ASSERT_THAT(service->Verify(all, all.durable, &verified_), IsEmpty());
    ASSERT_EQ(HeldAfter(service->client(), kFreeWithin), "");
  }
  Report("servers");
  ExpectMidTransfer();
  EXPECT_GE(kept_, static_cast<size_t>(AtLeast(NumRounds())));
}

// With a client that lies the checks above must fail.
TEST_F(ServiceKillTest, WhatIsLostSpoiltOrHeldIsSeen) {
  ServiceProcess service(kAmpleDisk);
  const auto kill = [](ChildProcess& client) { client.Signal(SIGKILL); };
  Said said = RunClient(service, "ml", 128 + SIGKILL, "", kill);
  const std::vector<std::string> lost = service.Verify(said, said.acked, &verified_);
  EXPECT_THAT(lost, ElementsAre(HasSubstr("is lost: 0 of")));
  // The client that spoils what it puts may itself read it before it is killed.
  const auto client = service.StartClient(1000, "ms");
  client->AwaitLine("wrong ");
  said = Said(client->output());
  EXPECT_EQ(client->Wait(), 3);
  EXPECT_THAT(service.Verify(said, {}, &verified_), ::testing::Contains(HasSubstr("are wrong")));
  EXPECT_EQ(HeldAfter(service.client(), kFreeWithin), "");
  const auto session = CacheSession::Open(service.address(), {});
  ASSERT_TRUE(session.ok()) << session.status();
  EXPECT_THAT(HeldAfter(service.client(), absl::Milliseconds(100)), HasSubstr("sessions 1"));
}

TEST_F(ServiceKillTest, SigtermUnderLoadLosesNothingAcknowledged) {
  ServiceProcess service(kAmpleDisk);
  // It holds leases, and calls that do not end: a Watch, and a Put that is silent.
  const auto stub = v1::Cache::NewStub(ConnectTo(service.address()));
  grpc::ClientContext watch_context;
  const auto watch = stub->Watch(&watch_context, v1::WatchRequest());
  grpc::ClientContext put_context;
  v1::PutResponse response;
  const auto put = stub->Put(&put_context, &response);
  const Said said = RunClient(service, "m", 0, "acked ", [&](ChildProcess& client) {
    const absl::Time asked = absl::Now();
    service.process().Signal(SIGTERM);
    EXPECT_FALSE(client.ReadUntil(asked + kProcessTimeout));
    EXPECT_NE(service.process().AwaitLine("moved "), "");
    EXPECT_EQ(service.process().Wait(), 0);
    EXPECT_LT(absl::Now() - asked, absl::Seconds(20));
  });
  EXPECT_FALSE(put->Finish().ok());
  v1::CacheEvent event;
  while (watch->Read(&event)) {
  }
  EXPECT_EQ(watch->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  service.Start();
  EXPECT_THAT(service.Verify(said, said.acked, &verified_), IsEmpty());
  EXPECT_GT(verified_, 0);
  EXPECT_EQ(HeldAfter(service.client(), kFreeWithin), "");
}

}  // namespace
}  // namespace reprise::api
