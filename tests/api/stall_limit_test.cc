#include "api/stall_limit.h"

#include <gmock/gmock.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "api/client/cache_client.h"
#include "reprise/v1/cache.grpc.pb.h"
#include "tests/fakes/temp_folder.h"

namespace reprise::api {
namespace {

constexpr absl::Duration kTimeout = absl::Seconds(60);

// A service whose Stats outlasts its limit, and whose Demote does not; whose Import waits for its
// client for `stall`.
class SlowService final : public v1::Cache::Service {
 public:
  explicit SlowService(absl::Duration stall) : stall_(stall) {}

  grpc::Status Stats(grpc::ServerContext* context, const v1::StatsRequest* request,
                     v1::StatsResponse* response) override {
    StallLimit limit(context, StallLimit::LimitsOf(absl::Milliseconds(20), kTimeout));
    const absl::Time give_up = absl::Now() + kTimeout;
    while (!context->IsCancelled() && absl::Now() < give_up) {
    }
    return grpc::Status::OK;
  }
  grpc::Status Demote(grpc::ServerContext* context, const v1::DemoteRequest* request,
                      v1::DemoteResponse* response) override {
    StallLimit limit(context, StallLimit::LimitsOf(absl::Hours(1), absl::Hours(1)));
    return grpc::Status::OK;
  }
  grpc::Status Import(grpc::ServerContext* context, grpc::ServerReader<v1::FileChunk>* reader,
                      v1::ImportResponse* response) override {
    StallLimit limit(context, StallLimit::LimitsOf(absl::Hours(1), stall_));
    v1::FileChunk chunk;
    while (limit.During([&] { return reader->Read(&chunk); })) response->set_stored_blocks(1);
    return grpc::Status::OK;
  }

 private:
  const absl::Duration stall_;
};

class SlowServer {
 public:
  explicit SlowServer(absl::Duration stall) : service_(stall) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(address_, grpc::InsecureServerCredentials());
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
  }
  const std::string& address() const { return address_; }

 private:
  const TempFolder folder_;
  const std::string address_ = "unix:" + (folder_ / "s");
  SlowService service_;
  std::unique_ptr<grpc::Server> server_;
};

TEST(StallLimitTest, CancelsTheCallsThatOutlastIt) {
  const SlowServer server(kTimeout);
  CacheClient client(server.address());
  EXPECT_EQ(client.Stats(kTimeout).status().code(), absl::StatusCode::kCancelled);
  EXPECT_TRUE(client.Demote(kTimeout).ok());
}

TEST(StallLimitTest, EndsTheCallsWhoseClientIsSilent) {
  for (const bool goes_on : {true, false}) {
    const SlowServer server(goes_on ? kTimeout : absl::Seconds(1));
    const auto stub = v1::Cache::NewStub(ConnectTo(server.address()));
    grpc::ClientContext context;
    SetTimeout(kTimeout, &context);
    v1::ImportResponse response;
    const auto writer = stub->Import(&context, &response);
    ASSERT_TRUE(writer->Write(v1::FileChunk()));
    if (goes_on) writer->WritesDone();
    const grpc::Status status = writer->Finish();
    if (goes_on) {
      EXPECT_TRUE(status.ok()) << status.error_message();
      continue;
    }
    EXPECT_EQ(status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
    EXPECT_THAT(status.error_message(), ::testing::HasSubstr("no whole message for 1s"));
  }
}

}  // namespace
}  // namespace reprise::api
