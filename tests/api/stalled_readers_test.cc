// Clients of streams that do not read: what they hold of the server's RAM is bounded, others are
// served, and who comes to read again learns what it has lost.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "api/limits.h"
#include "tests/api/small_window.h"
#include "tests/api/test_server.h"

namespace reprise::api {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;
constexpr int64_t kRamBytes = 64 * kMiB;
constexpr int kBlocks = 24;  // of 1 MiB: more than a connection takes in by itself
constexpr int kConnections = 2;
constexpr int kReaders = 120;

v1::NamespaceIdentity IdentityOfLargeBlocks() {
  v1::NamespaceIdentity identity = TestIdentity();
  identity.mutable_layout()->set_num_layers(64);
  identity.mutable_layout()->set_num_kv_heads(8);
  identity.mutable_layout()->set_head_dim(64);
  return identity;
}

// A Get whose client has sent the request and reads nothing: it does not even poll its socket.
class StalledReader {
 public:
  StalledReader(v1::Cache::Stub* stub, const v1::GetRequest& request)
      : reader_(stub->Get(&context_, request)) {}
  ~StalledReader() {
    context_.TryCancel();
    Finish();
  }

  // Reads what there is; how the server ended it.
  grpc::Status Finish() {
    if (reader_ == nullptr) return status_;
    v1::GetResponse response;
    while (reader_->Read(&response)) ++blocks_;
    status_ = reader_->Finish();
    reader_.reset();
    return status_;
  }

 private:
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReader<v1::GetResponse>> reader_;
  grpc::Status status_;
  int blocks_ = 0;
};

TEST(StalledReadersTest, HoldNoMoreThanTheBudgetAndOthersAreServed) {
  TestServer server({.ram_bytes = kRamBytes, .disk_bytes = 0, .max_positions = 0});
  const int64_t limit = server.server().send_budget().limit();
  EXPECT_EQ(limit, kRamBytes / 2);
  CacheClient client(server.address());
  const auto ns = client.OpenNamespace(IdentityOfLargeBlocks(), kTestTimeout);
  ASSERT_TRUE(ns.ok()) << ns.status();
  ASSERT_EQ(ns->block_bytes(), kMiB);
  const std::vector<uint32_t> tokens = TestTokens(kBlocks);
  const std::vector<std::string> payloads = TestPayloads(kBlocks, kMiB);
  const auto put =
      client.Put(ns->namespace_id(), {}, TestBlocks(tokens, payloads, 0), kTestTimeout);
  ASSERT_TRUE(put.ok()) << put.status();
  ASSERT_EQ(put->stored_blocks(), kBlocks);

  v1::GetRequest request;
  request.set_namespace_id(ns->namespace_id());
  request.mutable_token_ids()->Assign(tokens.begin(), tokens.end());
  std::vector<std::unique_ptr<v1::Cache::Stub>> stubs;
  for (int i = 0; i < kConnections; ++i) {
    stubs.push_back(v1::Cache::NewStub(ConnectTo(server.address())));
  }
  std::vector<std::unique_ptr<StalledReader>> readers;
  for (int i = 0; i < kReaders; ++i) {
    readers.push_back(std::make_unique<StalledReader>(stubs[i % kConnections].get(), request));
  }
  // They want more than there may be, and get to the limit of it.
  const absl::Time deadline = absl::Now() + kTestTimeout;
  bool scarce = false;
  while (!scarce && absl::Now() < deadline) {
    scarce = server.server().send_budget().scarce();
    EXPECT_TRUE(client.Match(ns->namespace_id(), tokens, kTestTimeout).ok());
  }
  EXPECT_TRUE(scarce);
  // No thread is held: others are answered. And when these clients have gone, all is as before.
  EXPECT_TRUE(client.Match(ns->namespace_id(), tokens, kTestTimeout).ok());
  EXPECT_LE(server.server().send_budget().peak_bytes(), limit);
  EXPECT_GT(server.server().send_budget().peak_bytes(), limit / 2);
  readers.clear();
  stubs.clear();
  size_t read = 0;
  const auto got =
      client.Get(ns->namespace_id(), tokens, 0, kTestTimeout, [&](const v1::GetResponse& block) {
        EXPECT_EQ(block.payload(), payloads[read]);
        ++read;
      });
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(*got, kBlocks);
  EXPECT_LE(server.server().send_budget().peak_bytes(), limit);
  server.server().Shutdown(absl::Now());
  EXPECT_EQ(server.server().send_budget().held_bytes(), 0);
  EXPECT_EQ(server.store().stats().pinned_blocks, 0);
}

TEST(StalledReadersTest, AnExportThatNobodyReadsEndsAndHoldsNothing) {
  TestServer server({.ram_bytes = kRamBytes,
                     .disk_bytes = 0,
                     .max_positions = 0,
                     .max_message_time = absl::Seconds(2)});
  CacheClient client(server.address());
  const auto ns = client.OpenNamespace(IdentityOfLargeBlocks(), kTestTimeout);
  ASSERT_TRUE(ns.ok()) << ns.status();
  const std::vector<uint32_t> tokens = TestTokens(kBlocks);
  const std::vector<std::string> payloads = TestPayloads(kBlocks, kMiB);
  ASSERT_TRUE(
      client.Put(ns->namespace_id(), {}, TestBlocks(tokens, payloads, 0), kTestTimeout).ok());
  const auto stub = v1::Cache::NewStub(ConnectTo(server.address()));
  grpc::ClientContext context;
  SetTimeout(kTestTimeout, &context);
  v1::ExportRequest request;
  request.set_namespace_id(ns->namespace_id());
  const auto reader = stub->Export(&context, request);
  // It takes nothing until the server has had enough, which the log of calls would say.
  const absl::Time deadline = absl::Now() + kTestTimeout;
  int64_t most_pinned = 0;
  const auto await_pinned = [&](bool pinned) {
    const auto now_pinned = [&] {
      const int64_t blocks = server.store().stats().pinned_blocks;
      most_pinned = std::max(most_pinned, blocks);
      return blocks > 0;
    };
    while (now_pinned() != pinned && absl::Now() < deadline) {
      EXPECT_TRUE(client.Match(ns->namespace_id(), tokens, kTestTimeout).ok());
    }
    EXPECT_EQ(now_pinned(), pinned);
  };
  await_pinned(true);
  await_pinned(false);
  EXPECT_LE(most_pinned, kMaxPinnedBytes / kMiB);
  v1::FileChunk chunk;
  int64_t bytes = 0;
  while (reader->Read(&chunk)) bytes += std::ssize(chunk.data());
  const grpc::Status status = reader->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED) << status.error_message();
  // What was on its way: a stream's window, and what one write more may add.
  EXPECT_LE(bytes, kStreamWindowBytes + 2 * kMiB);
  EXPECT_TRUE(client.Match(ns->namespace_id(), tokens, kTestTimeout).ok());
}

// A Watch whose client has a small window and reads nothing until it is asked to.
class StalledWatch {
 public:
  explicit StalledWatch(const std::string& address)
      : stub_(v1::Cache::NewStub(ConnectWithWindow(address, 1 << 16))) {
    SetTimeout(5 * kTestTimeout, &context_);  // a test makes thousands of calls meanwhile
    v1::WatchRequest request;
    request.set_from_sequence(1);
    request.set_with_token_ids(true);
    reader_ = stub_->Watch(&context_, request);
  }
  ~StalledWatch() {
    context_.TryCancel();
    if (reader_ != nullptr) End();
  }

  // False: there are no more.
  bool Next(v1::CacheEvent* event) { return reader_->Read(event); }
  grpc::Status End() {
    v1::CacheEvent event;
    while (reader_->Read(&event)) {
    }
    return std::exchange(reader_, nullptr)->Finish();
  }

 private:
  grpc::ClientContext context_;
  const std::unique_ptr<v1::Cache::Stub> stub_;
  std::unique_ptr<grpc::ClientReader<v1::CacheEvent>> reader_;
};

class StalledWatchTest : public ::testing::Test {
 protected:
  static constexpr int64_t kRemembered = 64;

  StalledWatchTest() {
    const auto ns = client_.OpenNamespace(TestIdentity(), kTestTimeout);
    EXPECT_TRUE(ns.ok()) << ns.status();
    ns_ = ns->namespace_id();
    payloads_ = TestPayloads(8, ns->block_bytes());
  }

  // As many events as no connection holds by itself.
  void MakeEvents() {
    v1::InvalidateRequest all;
    all.set_all(true);
    for (int i = 0; i < 1500; ++i) {
      ASSERT_TRUE(client_.Put(ns_, {}, TestBlocks(tokens_, payloads_, 0), kTestTimeout).ok());
      ASSERT_TRUE(client_.Invalidate(all, kTestTimeout).ok());
    }
  }

  TestServer server_{
      TestServer::Options{.disk_bytes = 0, .max_positions = 0, .remembered_events = kRemembered}};
  CacheClient client_{server_.address()};
  uint32_t ns_ = 0;
  const std::vector<uint32_t> tokens_ = TestTokens(8);
  std::vector<std::string> payloads_;
};

TEST_F(StalledWatchTest, IsToldWhatItHasLostAndGoesOn) {
  StalledWatch watch(server_.address());
  MakeEvents();
  const uint64_t end = server_.store().next_event();
  uint64_t last = 0;
  int losses = 0;
  v1::CacheEvent event;
  while (last + 1 < end && watch.Next(&event)) {
    if (event.has_lost()) {
      ++losses;
      EXPECT_GT(event.lost().next_sequence(), last + 1) << "something is missing";
      EXPECT_EQ(event.sequence() + 1, event.lost().next_sequence());
    } else {
      EXPECT_GT(event.sequence(), last);
    }
    last = event.sequence();
  }
  EXPECT_EQ(last + 1, end) << "it goes on to the last event";
  EXPECT_GE(losses, 1);
}

TEST_F(StalledWatchTest, EndsWithTheServer) {
  StalledWatch watch(server_.address());
  MakeEvents();
  const absl::Time asked = absl::Now();
  server_.server().Shutdown(asked + kTestTimeout);
  EXPECT_LT(absl::Now() - asked, kTestTimeout / 2);
  EXPECT_EQ(watch.End().error_code(), grpc::StatusCode::UNAVAILABLE);
}

}  // namespace
}  // namespace reprise::api
