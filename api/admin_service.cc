#include "api/admin_service.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "api/auth/caller.h"
#include "api/auth/principal.h"
#include "api/limits.h"
#include "api/stall_limit.h"
#include "api/status_codec.h"

namespace reprise::api {
namespace {

// Between two messages of Verify.
constexpr absl::Duration kProgressInterval = absl::Milliseconds(250);

// Writes what became of a call to the audit log, and ends it.
grpc::Status End(const grpc::ServerContext& context, absl::string_view what,
                 const absl::Status& status, std::string detail = "") {
  Audit(context, what, status, std::move(detail));
  return ToGrpc(status);
}

v1::RecordingState ToProto(const RecordingProgress& progress, bool ended) {
  v1::RecordingState state;
  state.set_path(progress.path);
  state.set_ended(ended || !progress.cause.empty());
  state.set_requests(progress.requests);
  state.set_blocks(progress.blocks);
  state.set_dropped_requests(progress.dropped_requests);
  state.set_bytes(progress.bytes);
  state.set_cause(progress.cause);
  return state;
}

}  // namespace

grpc::Status AdminService::Verify(grpc::ServerContext* context, const v1::VerifyRequest* request,
                                  grpc::ServerWriter<v1::VerifyProgress>* writer) {
  absl::Status status = NeedAdmin(PrincipalOf(*context), "to verify what is on disk");
  if (status.ok() && request->max_bytes_per_second() < 0) {
    status = absl::InvalidArgumentError(absl::StrCat(
        "max_bytes_per_second is ", request->max_bytes_per_second(), "; it must not be negative"));
  }
  if (!status.ok()) return End(*context, "Verify", status);
  StallLimit limit(context, StallLimit::LimitsOf(absl::InfiniteDuration(), max_message_time_));
  v1::VerifyProgress progress;
  const auto write = [&] { return writer->Write(progress); };
  absl::Time next_message = absl::InfinitePast();
  status =
      store_->Verify(request->max_bytes_per_second(), [&](const cachestore::VerifyProgress& now) {
        progress.set_verified_blocks(now.verified_blocks);
        progress.set_failed_blocks(now.failed_blocks);
        progress.set_total_blocks(now.total_blocks);
        if (context->IsCancelled()) return false;
        if (absl::Now() < next_message) return true;
        next_message = absl::Now() + kProgressInterval;
        return limit.During(write);
      });
  if (status.ok()) {
    progress.set_done(true);
    limit.During(write);
  }
  return End(*context, "Verify", status,
             absl::StrCat(progress.verified_blocks(), " blocks are good, ",
                          progress.failed_blocks(), " were taken out"));
}

grpc::Status AdminService::ListSessions(grpc::ServerContext* context,
                                        const v1::ListSessionsRequest* request,
                                        v1::ListSessionsResponse* response) {
  const absl::Status allowed = NeedAdmin(PrincipalOf(*context), "to list sessions");
  if (!allowed.ok()) return End(*context, "ListSessions", allowed);
  for (v1::SessionInfo& info : sessions_->List()) *response->add_sessions() = std::move(info);
  return End(*context, "ListSessions", absl::OkStatus());
}

grpc::Status AdminService::EndSession(grpc::ServerContext* context,
                                      const v1::EndSessionRequest* request,
                                      v1::EndSessionResponse* response) {
  absl::Status status = NeedAdmin(PrincipalOf(*context), "to end a session");
  if (status.ok()) {
    status = sessions_->End(request->public_id(),
                            absl::AbortedError("an operator has ended the session"));
  }
  return End(*context, "EndSession", status,
             absl::BytesToHexString(request->public_id().substr(0, kMaxEchoBytes)));
}

grpc::Status AdminService::Reload(grpc::ServerContext* context, const v1::ReloadRequest* request,
                                  v1::ReloadResponse* response) {
  const absl::Status allowed = NeedAdmin(PrincipalOf(*context), "to reload");
  if (!allowed.ok()) return End(*context, "Reload", allowed);
  const absl::StatusOr<std::vector<std::string>> changed = reload_();
  if (!changed.ok()) return End(*context, "Reload", changed.status());
  for (const std::string& change : *changed) response->add_changed(change);
  return End(*context, "Reload", absl::OkStatus(), absl::StrJoin(*changed, ", "));
}

grpc::Status AdminService::StartRecording(grpc::ServerContext* context,
                                          const v1::StartRecordingRequest* request,
                                          v1::RecordingState* response) {
  absl::Status status = NeedAdmin(PrincipalOf(*context), "to record requests");
  if (status.ok()) {
    const auto begun = recording_->Start(request->path(), request->max_bytes());
    status = begun.status();
    if (begun.ok()) *response = ToProto(*begun, /*ended=*/false);
  }
  return End(*context, "StartRecording", status, request->path().substr(0, kMaxEchoBytes));
}

grpc::Status AdminService::StopRecording(grpc::ServerContext* context,
                                         const v1::StopRecordingRequest* request,
                                         v1::RecordingState* response) {
  absl::Status status = NeedAdmin(PrincipalOf(*context), "to end a recording");
  if (status.ok()) {
    const auto ended = recording_->Stop();
    status = ended.status();
    if (ended.ok()) *response = ToProto(*ended, /*ended=*/true);
  }
  return End(*context, "StopRecording", status, response->path());
}

grpc::Status AdminService::Drain(grpc::ServerContext* context, const v1::DrainRequest* request,
                                 v1::DrainResponse* response) {
  absl::Status status = NeedAdmin(PrincipalOf(*context), "to drain");
  if (status.ok() && !drain_) {
    status = absl::FailedPreconditionError("this server cannot be told to end");
  }
  // First the line, then the end: a process that has ended writes none.
  const grpc::Status answer = End(*context, "Drain", status);
  if (status.ok()) drain_();
  return answer;
}

}  // namespace reprise::api
