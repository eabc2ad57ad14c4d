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

// Whoever can connect to a server that asks for no credentials: any tenant, every role.
Principal LocalOperator();
// Nobody: a tenant that has nothing, no role.
Principal Nobody();

// The caller of `context`, as CallerInterceptor has told; nobody when there is no such interceptor.
Principal PrincipalOf(const grpc::ServerContextBase& context);

// The tenant of namespaces that all may read. No credential and no request can name it.
inline constexpr absl::string_view kSharedTenant = "(shared)";

// The tenant that a call works for which names `tenant` (empty: none). kPermissionDenied: it is
// not the principal's, or it is the shared one.
absl::StatusOr<std::string> TenantOf(const Principal& principal, absl::string_view tenant);

// The tenant of a namespace that `principal` opens, `shared` or as that of `tenant` (empty: none).
// kInvalidArgument: a shared one names a tenant; else as TenantOf.
absl::StatusOr<std::string> TenantToOpen(const Principal& principal, absl::string_view tenant,
                                         bool shared);

// kPermissionDenied: `principal` has not the role; `what` says what needs it.
absl::Status NeedAdmin(const Principal& principal, absl::string_view what);

}  // namespace reprise::api
