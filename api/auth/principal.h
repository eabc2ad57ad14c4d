// Principal: who makes a call, and what it may do. Plain data.
#pragma once

#include <grpcpp/server_context.h>

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace reprise::api {

struct Principal {
  std::string name;        // for logs: never a secret
  std::string tenant;      // whose blocks it reads and writes; empty: those of any tenant it names
  bool publisher = false;  // may write shared namespaces
  bool admin = false;      // may do what concerns other tenants, or the whole server
};

// The caller of `context`. Without credentials whoever can connect to a local address is the
// operator: any tenant, every role.
Principal PrincipalOf(const grpc::ServerContextBase& context);

// The tenant that a call works for which names `tenant` (empty: none). kPermissionDenied: it is
// not the principal's.
absl::StatusOr<std::string> TenantOf(const Principal& principal, absl::string_view tenant);

// kPermissionDenied: `principal` has not the role; `what` says what needs it.
absl::Status NeedAdmin(const Principal& principal, absl::string_view what);

}  // namespace reprise::api
