// TlsIdentity: the certificate and key that a server shows, and the authority that its clients'
// certificates come from, read from files and read anew when told. Thread-safe.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "api/auth/tls_context.h"

namespace reprise::api {

// When an operator is told that a certificate ends.
inline constexpr absl::Duration kEndsSoon = absl::Hours(24 * 7);

// Paths of PEM files.
struct TlsFiles {
  std::string certificate;  // with its chain; empty: no TLS
  std::string key;
  std::string client_ca;  // empty: clients show no certificate
};

class TlsIdentity {
 public:
  // Reads the files. kFailedPrecondition: others may read the key; kInvalidArgument: a file holds
  // no PEM of its kind, or damaged PEM, the key is not the first certificate's, one of the chain
  // has not been signed by the next, or is not in date, or no authority for clients is; kNotFound:
  // a file cannot be read. BLOCKS.
  static absl::StatusOr<std::unique_ptr<TlsIdentity>> Open(const TlsFiles& files);

  // Reads the files anew; connections made from then on see what they hold. Whether that is
  // different. An error leaves everything as it was. BLOCKS.
  absl::StatusOr<bool> Reload();

  // What ends within kEndsSoon, or of the authorities has ended, for people.
  std::vector<std::string> EndingSoon() const;
  // When the first of the server's own certificates ends, its chain included.
  absl::Time ends() const;

  // What new connections are shown: for gRPC, and for everybody else.
  std::shared_ptr<const TlsMaterial> material() const;
  std::shared_ptr<const TlsContext> context() const;
  bool asks_clients() const { return !files_.client_ca.empty(); }

 private:
  explicit TlsIdentity(const TlsFiles& files) : files_(files) {}

  const TlsFiles files_;
  mutable absl::Mutex mu_;
  std::shared_ptr<const TlsMaterial> material_ ABSL_GUARDED_BY(mu_);
  std::shared_ptr<const TlsContext> context_ ABSL_GUARDED_BY(mu_);  // of material_
  absl::Time ends_ ABSL_GUARDED_BY(mu_);                            // of its certificates
};

}  // namespace reprise::api
