#include "api/client/admin_client.h"

#include "api/client/unary_call.h"
#include "api/status_codec.h"

namespace reprise::api {

AdminClient::AdminClient(const std::string& address, const ClientAccess& access)
    : stub_(v1::Admin::NewStub(ConnectTo(address, access))) {}

absl::StatusOr<v1::VerifyProgress> AdminClient::Verify(
    int64_t max_bytes_per_second, absl::Duration timeout,
    absl::FunctionRef<bool(const v1::VerifyProgress&)> on_progress) {
  grpc::ClientContext context;
  SetTimeout(timeout, &context);
  v1::VerifyRequest request;
  request.set_max_bytes_per_second(max_bytes_per_second);
  const auto reader = stub_->Verify(&context, request);
  v1::VerifyProgress progress;
  while (reader->Read(&progress)) {
    if (!on_progress(progress)) context.TryCancel();
  }
  if (const grpc::Status status = reader->Finish(); !status.ok()) return FromGrpc(status);
  return progress;
}

absl::StatusOr<v1::ListSessionsResponse> AdminClient::ListSessions(absl::Duration timeout) {
  return CallUnary(*stub_, &v1::Admin::Stub::ListSessions, v1::ListSessionsRequest(), timeout);
}

absl::Status AdminClient::EndSession(absl::string_view public_id, absl::Duration timeout) {
  v1::EndSessionRequest request;
  request.set_public_id(public_id.data(), public_id.size());
  return CallUnary(*stub_, &v1::Admin::Stub::EndSession, request, timeout).status();
}

absl::StatusOr<v1::RecordingState> AdminClient::StartRecording(const std::string& path,
                                                               int64_t max_bytes,
                                                               absl::Duration timeout) {
  v1::StartRecordingRequest request;
  request.set_path(path);
  request.set_max_bytes(max_bytes);
  return CallUnary(*stub_, &v1::Admin::Stub::StartRecording, request, timeout);
}

absl::StatusOr<v1::RecordingState> AdminClient::StopRecording(absl::Duration timeout) {
  return CallUnary(*stub_, &v1::Admin::Stub::StopRecording, v1::StopRecordingRequest(), timeout);
}

}  // namespace reprise::api
