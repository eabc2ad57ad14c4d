// Guard: who may call, and how often. Owns the credentials, the TLS identity, the tenants' rates
// and the audit log, and reads them anew when told. One per server process; shared by all of its
// listeners. Thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "api/auth/audit_log.h"
#include "api/auth/credentials.h"
#include "api/auth/principal.h"
#include "api/auth/rate_limiter.h"
#include "api/auth/tls_identity.h"

namespace reprise::api {

// How the path of the one service begins that needs no credential.
inline constexpr absl::string_view kHealthPath = "/grpc.health.v1.Health/";

struct GuardOptions {
  std::string credentials_file;  // empty: nobody has to show a token
  TlsFiles tls;
  std::string audit_log;  // empty: none
};

// The other end of a connection. Plain data.
struct Peer {
  std::string address;  // for the audit log
  bool is_unix = false;
  // Nobody but the two ends can read along: a Unix socket, the loopback interface, or TLS.
  bool is_private = false;
  std::vector<std::string> certificate_names;  // that TLS has verified
};

class Guard {
 public:
  // Errors are those of Credentials, TlsIdentity and AuditLog. BLOCKS to read.
  static absl::StatusOr<std::unique_ptr<Guard>> Open(const GuardOptions& options);

  // Who a caller is that shows `bearer_token` (empty: none) on a connection to `peer`.
  //   Without credentials and client certificates: the local operator, whatever the token.
  //   Without a credentials file, with a client's certificate: every role; its name for logs.
  //   With credentials: the token's principal, else the certificate's, else, on a Unix socket,
  //   which only the server's user and root can open, the local operator.
  // kUnauthenticated: none of these, with the cause; never repeats the token.
  absl::StatusOr<Principal> Authenticate(absl::string_view bearer_token, const Peer& peer) const;

  // Takes one call of the principal's tenant (RateLimiter::TakeCall).
  absl::Status TakeCall(const Principal& principal);
  // Takes bytes of blocks that a call of the principal has moved.
  void ChargeBytes(const Principal& principal, int64_t bytes);

  // Reads credentials and certificates anew and opens the audit log again; returns what changed,
  // for people. An error leaves all of the old in place. BLOCKS.
  absl::StatusOr<std::vector<std::string>> Reload();

  // Calls `follow` with the limits of tenants as they are now, and again after every reload, one at
  // a time; not any more once it has returned from a call with an empty one. BLOCKS for a reload.
  void FollowLimits(std::function<void(const LimitsByTenant&)> follow)
      ABSL_LOCKS_EXCLUDED(reload_mu_);

  // What an operator should know of before it ends, for people.
  std::vector<std::string> Warnings() const;

  bool has_credentials() const { return !options_.credentials_file.empty(); }
  // nullptr: no TLS.
  const TlsIdentity* tls() const { return tls_.get(); }
  AuditLog& audit() { return *audit_; }

 private:
  explicit Guard(const GuardOptions& options) : options_(options) {}

  std::shared_ptr<const Credentials> credentials() const;

  const GuardOptions options_;
  std::unique_ptr<TlsIdentity> tls_;
  std::unique_ptr<AuditLog> audit_;
  RateLimiter rates_;
  absl::Mutex reload_mu_;  // one reload at a time
  std::function<void(const LimitsByTenant&)> follow_ ABSL_GUARDED_BY(reload_mu_);
  mutable absl::Mutex mu_;
  std::shared_ptr<const Credentials> credentials_ ABSL_GUARDED_BY(mu_);
};

}  // namespace reprise::api
