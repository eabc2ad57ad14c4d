// Credentials: who may call, as the file of --credentials says. Immutable, thread-safe.
//
//   [tenants.alice]              # limits of all that alice's credentials do; each may be left out
//   calls-per-second = 200
//   bytes-per-second = "100MiB"  # of blocks, in and out
//   ram-bytes = "4GiB"           # of blocks that stay: what alice stores beyond it evicts her own
//   disk-bytes = "40GiB"
//
//   [[credentials]]
//   name = "alice-web"           # for logs
//   tenant = "alice"             # without: any tenant that a call names; needs the role admin
//   token-sha256 = "9f86d0..."   # as `reprise credential` prints it
//   roles = ["publisher"]        # publisher: writes shared namespaces; admin: the whole server
//
//   [[credentials]]
//   name = "bob-engine"
//   tenant = "bob"
//   certificate = "engine.bob.example"  # a DNS name or URI of the client's certificate, or its CN
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "api/auth/principal.h"
#include "api/auth/secret_token.h"
#include "cachestore/store/tenant_quota.h"

namespace reprise::api {

// What one tenant may take. 0: no limit.
struct TenantLimits {
  int64_t calls_per_second = 0;
  int64_t bytes_per_second = 0;
  cachestore::TenantQuota quota;

  friend bool operator==(const TenantLimits&, const TenantLimits&) = default;
};
using LimitsByTenant = std::map<std::string, TenantLimits>;
// The quotas among them.
cachestore::QuotasByTenant QuotasOf(const LimitsByTenant& limits);

class Credentials {
 public:
  // Of a file's text. kInvalidArgument names the credential or the line, and what is wrong: no
  // TOML, an unknown key, a name or a credential that comes twice, neither token nor certificate.
  // Never repeats a value of the text that may be a secret.
  static absl::StatusOr<Credentials> Parse(absl::string_view text);
  // Of a file. kFailedPrecondition: others than its owner may read or write it; kNotFound: it
  // cannot be read.
  static absl::StatusOr<Credentials> ReadFile(const std::string& path);

  // nullptr: nobody's. Points into this object.
  const Principal* FindToken(const TokenDigest& digest) const;
  // The first of a certificate's names that a credential has.
  const Principal* FindCertificate(absl::Span<const std::string> names) const;

  // Of the tenants that have any.
  const LimitsByTenant& limits() const { return limits_; }
  // How many credentials there are.
  size_t size() const { return by_token_.size() + by_certificate_.size(); }

 private:
  class Reader;

  absl::flat_hash_map<TokenDigest, Principal> by_token_;
  absl::flat_hash_map<std::string, Principal> by_certificate_;
  LimitsByTenant limits_;
};

// A tenant or credential is named by 1 to 64 letters, digits, '.', '_', '-' and '@'.
bool IsCredentialName(absl::string_view name);

}  // namespace reprise::api
