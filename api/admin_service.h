// AdminService: what operators do to a running server, on gRPC's synchronous API. Every call needs
// the role admin and is written to the audit log. Thread-safe.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "api/record/recording.h"
#include "api/session/session_table.h"
#include "cachestore/store/tiered_store.h"
#include "reprise/v1/admin.grpc.pb.h"

namespace reprise::api {

namespace v1 = ::reprise::v1;

class AdminService final : public v1::Admin::Service {
 public:
  // Begins the end of the server, as SIGTERM does, and returns at once.
  using Drainer = std::function<void()>;
  // Reads the server's files anew, as SIGHUP does; what changed, for people.
  using Reloader = std::function<absl::StatusOr<std::vector<std::string>>()>;

  // What it is about must outlive the service; `drain` may be empty where nobody can be told to
  // end. A Verify whose client takes more than `max_message_time` for a message ends.
  AdminService(Reloader reload, cachestore::TieredStore* store, SessionTable* sessions,
               Recording* recording, Drainer drain, absl::Duration max_message_time)
      : reload_(std::move(reload)),
        store_(store),
        sessions_(sessions),
        recording_(recording),
        drain_(std::move(drain)),
        max_message_time_(max_message_time) {}

  grpc::Status Verify(grpc::ServerContext* context, const v1::VerifyRequest* request,
                      grpc::ServerWriter<v1::VerifyProgress>* writer) override;

  grpc::Status ListSessions(grpc::ServerContext* context, const v1::ListSessionsRequest* request,
                            v1::ListSessionsResponse* response) override;
  grpc::Status EndSession(grpc::ServerContext* context, const v1::EndSessionRequest* request,
                          v1::EndSessionResponse* response) override;
  grpc::Status Reload(grpc::ServerContext* context, const v1::ReloadRequest* request,
                      v1::ReloadResponse* response) override;
  grpc::Status Drain(grpc::ServerContext* context, const v1::DrainRequest* request,
                     v1::DrainResponse* response) override;
  grpc::Status StartRecording(grpc::ServerContext* context,
                              const v1::StartRecordingRequest* request,
                              v1::RecordingState* response) override;
  grpc::Status StopRecording(grpc::ServerContext* context, const v1::StopRecordingRequest* request,
                             v1::RecordingState* response) override;

 private:
  const Reloader reload_;
  cachestore::TieredStore* const store_;
  SessionTable* const sessions_;
  Recording* const recording_;
  const Drainer drain_;
  const absl::Duration max_message_time_;
};

}  // namespace reprise::api
