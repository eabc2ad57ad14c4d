// AdminClient: the Admin service of one server, with absl types. Thread-safe.
#pragma once

#include <memory>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "api/client/channel.h"
#include "reprise/v1/admin.grpc.pb.h"

namespace reprise::api {

namespace v1 = ::reprise::v1;

class AdminClient {
 public:
  // A client of the Admin listener at `address` (--admin-listen). Connects on first use.
  explicit AdminClient(const std::string& address, const ClientAccess& access = {});

  // Every call BLOCKS, `timeout` at most. Errors are the server's; kUnavailable: no server at the
  // address; kDeadlineExceeded: `timeout` has passed.

  // Compares what is on disk with its checksums, at most so many bytes a second (0: as fast as it
  // comes). `on_progress` sees how far it is until it says false. Returns the last of it.
  absl::StatusOr<v1::VerifyProgress> Verify(
      int64_t max_bytes_per_second, absl::Duration timeout,
      absl::FunctionRef<bool(const v1::VerifyProgress&)> on_progress);

  absl::StatusOr<v1::ListSessionsResponse> ListSessions(absl::Duration timeout);
  // `public_id` is that of SessionInfo. kNotFound: there is no such session.
  absl::Status EndSession(absl::string_view public_id, absl::Duration timeout);

  // Begins to record requests into a new file of the server's, of `max_bytes` at most (0: 1 GiB);
  // ends it, and tells what became of it.
  absl::StatusOr<v1::RecordingState> StartRecording(const std::string& path, int64_t max_bytes,
                                                    absl::Duration timeout);
  absl::StatusOr<v1::RecordingState> StopRecording(absl::Duration timeout);

 private:
  const std::unique_ptr<v1::Admin::Stub> stub_;
};

}  // namespace reprise::api
