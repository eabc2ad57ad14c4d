// SessionCore: what a CacheSession, its threads and its leases share. Used by the client library
// alone. Thread-safe.
#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/support/sync_stream.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "api/client/session.h"
#include "reprise/v1/cache.grpc.pb.h"

namespace reprise::api {

class SessionCore {
 public:
  SessionCore(const std::string& address, const CacheSession::Options& options);

  // Opens the stream. BLOCKS, options.open_timeout at most.
  absl::StatusOr<v1::SessionOpened> Open();
  // Ends the stream and both threads' work.
  void Close();

  // The work of the threads; BLOCK until the session has ended.
  void ReadEvents();
  void RenewLeases();

  absl::StatusOr<v1::AcquireResponse> Acquire(v1::AcquireRequest request, absl::Duration timeout);
  v1::LeaseState StateOf(const std::string& lease_id) const;
  v1::LeaseState Await(const std::string& lease_id, absl::Time deadline) const;
  void ReleaseSoon(const std::string& lease_id);
  // Releases the lease, which may be told to be released again, with what is known of its request.
  absl::Status EndRequest(const std::string& lease_id, const v1::CacheHints& hints,
                          int64_t output_tokens, absl::Duration timeout);
  // Releases what was asked to, and renews the others.
  absl::Status Flush(absl::Duration timeout);
  absl::Status status() const;

 private:
  void OnLease(const v1::LeaseState& state);
  void OnEnd(const absl::Status& status);
  absl::Status SendReleases(absl::Duration timeout);
  absl::Status SendRenewals(absl::Duration timeout);

  const CacheSession::Options options_;
  const std::unique_ptr<v1::Cache::Stub> stub_;
  grpc::ClientContext context_;  // of the stream
  std::unique_ptr<grpc::ClientReader<v1::SessionEvent>> stream_;
  std::string id_;      // set by Open
  absl::Duration ttl_;  // that the server grants; set by Open

  mutable absl::Mutex mu_;
  mutable absl::CondVar changed_;
  std::optional<absl::Status> end_ ABSL_GUARDED_BY(mu_);
  bool closing_ ABSL_GUARDED_BY(mu_) = false;
  int acquiring_ ABSL_GUARDED_BY(mu_) = 0;
  // Leases that are held, and of those that calls of Acquire are to bring what was told before they
  // returned.
  absl::flat_hash_map<std::string, v1::LeaseState> leases_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<std::string, v1::LeaseState> early_ ABSL_GUARDED_BY(mu_);
  std::vector<std::string> to_release_ ABSL_GUARDED_BY(mu_);
};

}  // namespace reprise::api
