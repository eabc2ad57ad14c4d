#include "api/auth/principal.h"

#include "absl/strings/str_cat.h"

namespace reprise::api {

Principal PrincipalOf(const grpc::ServerContextBase& context) {
  return {.name = "local", .tenant = "", .publisher = true, .admin = true};
}

absl::StatusOr<std::string> TenantOf(const Principal& principal, absl::string_view tenant) {
  if (principal.tenant.empty() || tenant.empty() || tenant == principal.tenant) {
    return principal.tenant.empty() ? std::string(tenant) : principal.tenant;
  }
  return absl::PermissionDeniedError(
      absl::StrCat("the request names a tenant that is not the credential's, \"", principal.tenant,
                   "\"; leave it out"));
}

absl::Status NeedAdmin(const Principal& principal, absl::string_view what) {
  if (principal.admin) return absl::OkStatus();
  return absl::PermissionDeniedError(absl::StrCat(what, " needs a credential with the role admin"));
}

}  // namespace reprise::api
