#include "api/call_time_limit.h"

#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "api/client/cache_client.h"
#include "reprise/v1/cache.grpc.pb.h"
#include "tests/api/temp_folder.h"

namespace reprise::api {
namespace {

constexpr absl::Duration kTimeout = absl::Seconds(60);

// A service whose Stats outlasts its limit, and whose Demote does not.
class SlowService final : public v1::Cache::Service {
 public:
  grpc::Status Stats(grpc::ServerContext* context, const v1::StatsRequest* request,
                     v1::StatsResponse* response) override {
    const CallTimeLimit limit(context, absl::Milliseconds(20));
    const absl::Time give_up = absl::Now() + kTimeout;
    while (!context->IsCancelled() && absl::Now() < give_up) {
    }
    return grpc::Status::OK;
  }
  grpc::Status Demote(grpc::ServerContext* context, const v1::DemoteRequest* request,
                      v1::DemoteResponse* response) override {
    const CallTimeLimit limit(context, absl::Hours(1));
    return grpc::Status::OK;
  }
};

TEST(CallTimeLimitTest, CancelsTheCallsThatOutlastIt) {
  const TempFolder folder;
  const std::string address = "unix:" + (folder / "s");
  SlowService service;
  grpc::ServerBuilder builder;
  builder.AddListeningPort(address, grpc::InsecureServerCredentials());
  builder.RegisterService(&service);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  CacheClient client(address);
  EXPECT_EQ(client.Stats(kTimeout).status().code(), absl::StatusCode::kCancelled);
  EXPECT_TRUE(client.Demote(kTimeout).ok());
}

}  // namespace
}  // namespace reprise::api
