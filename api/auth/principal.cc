#include "api/auth/principal.h"

#include "absl/strings/str_cat.h"

namespace reprise::api {

Principal LocalOperator() { return {.name = "local", .publisher = true, .admin = true}; }

Principal Nobody() { return {.name = "nobody", .tenant = "(nobody)"}; }

absl::StatusOr<std::string> TenantOf(const Principal& principal, absl::string_view tenant) {
  if (tenant == kSharedTenant) {
    return absl::PermissionDeniedError(absl::StrCat(
        "tenant ", kSharedTenant, " is that of shared namespaces; open one with shared = true"));
  }
  if (principal.tenant.empty()) return std::string(tenant);
  if (tenant.empty() || tenant == principal.tenant) return principal.tenant;
  return absl::PermissionDeniedError(
      absl::StrCat("the request names a tenant that is not the credential's, \"", principal.tenant,
                   "\"; leave it out"));
}

absl::StatusOr<std::string> TenantToOpen(const Principal& principal, absl::string_view tenant,
                                         bool shared) {
  if (!shared) return TenantOf(principal, tenant);
  if (tenant.empty()) return std::string(kSharedTenant);
  return absl::InvalidArgumentError(
      "a shared namespace belongs to no tenant: leave identity.tenant out");
}

absl::Status NeedAdmin(const Principal& principal, absl::string_view what) {
  if (principal.admin) return absl::OkStatus();
  return absl::PermissionDeniedError(absl::StrCat(what, " needs a credential with the role admin"));
}

}  // namespace reprise::api
