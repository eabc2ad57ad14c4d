// Clients of Get that do not read: what they hold of the server's RAM is bounded, others are
// served.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "api/limits.h"
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
  while (!server.server().send_budget().scarce() && absl::Now() < deadline) {
    EXPECT_TRUE(client.Match(ns->namespace_id(), tokens, kTestTimeout).ok());
  }
  EXPECT_TRUE(server.server().send_budget().scarce());
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
                     .max_message_time = absl::Milliseconds(200)});
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
  const auto await_pinned = [&](bool pinned) {
    while ((server.store().stats().pinned_blocks > 0) != pinned && absl::Now() < deadline) {
      EXPECT_TRUE(client.Match(ns->namespace_id(), tokens, kTestTimeout).ok());
    }
    EXPECT_EQ(server.store().stats().pinned_blocks > 0, pinned);
  };
  await_pinned(true);
  await_pinned(false);
  v1::FileChunk chunk;
  int64_t bytes = 0;
  while (reader->Read(&chunk)) bytes += std::ssize(chunk.data());
  const grpc::Status status = reader->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED) << status.error_message();
  EXPECT_LT(bytes, kBlocks * kMiB);
  EXPECT_TRUE(client.Match(ns->namespace_id(), tokens, kTestTimeout).ok());
}

}  // namespace
}  // namespace reprise::api
