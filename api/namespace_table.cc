#include "api/namespace_table.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "api/limits.h"
#include "cachestore/base/status_macros.h"

namespace reprise::api {

using cachestore::NamespaceHandle;

absl::StatusOr<uint32_t> NamespaceTable::Open(const Principal& principal,
                                              const cachestore::NamespaceIdentity& identity) {
  const std::string encoding = identity.Encode();
  // Held while the store opens it, which is quick, so that the limit is kept exactly.
  absl::MutexLock lock(&mu_);
  const auto known = ids_.find(encoding);
  if (known != ids_.end()) return known->second;
  if (static_cast<int64_t>(entries_.size()) >= kMaxOpenNamespaces) {
    return absl::ResourceExhaustedError(absl::StrCat("clients have opened ", entries_.size(),
                                                     " namespaces; at most ", kMaxOpenNamespaces,
                                                     " may be open in one server process"));
  }
  int64_t& opened = opened_[principal.tenant];
  if (!principal.tenant.empty() && opened >= kMaxTenantNamespaces) {
    return absl::ResourceExhaustedError(absl::StrCat("tenant ", principal.tenant, " has opened ",
                                                     opened, " namespaces; at most ",
                                                     kMaxTenantNamespaces, " are a tenant's"));
  }
  ASSIGN_OR_RETURN(const NamespaceHandle ns, store_->OpenNamespace(identity));
  ++opened;
  uint32_t id;
  do {
    // Not 0: an id that was not set is never valid.
    id = absl::Uniform<uint32_t>(absl::IntervalClosed, random_, 1, UINT32_MAX);
  } while (entries_.contains(id));
  entries_.emplace(id, Entry{ns, identity.tenant});
  ids_.emplace(encoding, id);
  return id;
}

absl::StatusOr<NamespaceRights> NamespaceTable::FindRights(const Principal& principal,
                                                           uint32_t namespace_id) const {
  absl::MutexLock lock(&mu_);
  const auto it = entries_.find(namespace_id);
  const auto may_know = [&principal](const std::string& tenant) {
    return principal.tenant.empty() || principal.tenant == tenant || tenant == kSharedTenant;
  };
  // To another tenant a namespace looks as if it were not there.
  if (it == entries_.end() || !may_know(it->second.tenant)) {
    return absl::NotFoundError(
        absl::StrCat("namespace_id ", namespace_id,
                     " is not open in this server process; call OpenNamespace first"));
  }
  return NamespaceRights{.handle = it->second.handle,
                         .may_write = it->second.tenant != kSharedTenant || principal.publisher};
}

absl::StatusOr<NamespaceHandle> NamespaceTable::Find(const Principal& principal,
                                                     uint32_t namespace_id) const {
  ASSIGN_OR_RETURN(const NamespaceRights rights, FindRights(principal, namespace_id));
  return rights.handle;
}

absl::StatusOr<NamespaceHandle> NamespaceTable::FindToWrite(const Principal& principal,
                                                            uint32_t namespace_id) const {
  ASSIGN_OR_RETURN(const NamespaceRights rights, FindRights(principal, namespace_id));
  if (!rights.may_write) {
    return absl::PermissionDeniedError(
        absl::StrCat("namespace_id ", namespace_id,
                     " is shared; to change it needs a credential with the role publisher"));
  }
  return rights.handle;
}

}  // namespace reprise::api
