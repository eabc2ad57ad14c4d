#include "api/namespace_table.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "api/limits.h"
#include "cachestore/base/status_macros.h"

namespace reprise::api {

using cachestore::NamespaceHandle;

absl::StatusOr<uint32_t> NamespaceTable::Open(const Principal& principal,
                                              cachestore::NamespaceIdentity identity) {
  ASSIGN_OR_RETURN(identity.tenant, TenantOf(principal, identity.tenant));
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
  ASSIGN_OR_RETURN(const NamespaceHandle ns, store_->OpenNamespace(identity));
  uint32_t id;
  do {
    // Not 0: an id that was not set is never valid.
    id = absl::Uniform<uint32_t>(absl::IntervalClosed, random_, 1, UINT32_MAX);
  } while (entries_.contains(id));
  entries_.emplace(id, Entry{ns, identity.tenant});
  ids_.emplace(encoding, id);
  return id;
}

absl::StatusOr<NamespaceHandle> NamespaceTable::Find(const Principal& principal,
                                                     uint32_t namespace_id) const {
  absl::MutexLock lock(&mu_);
  const auto it = entries_.find(namespace_id);
  // To another tenant a namespace looks as if it were not there.
  if (it == entries_.end() ||
      (!principal.tenant.empty() && principal.tenant != it->second.tenant)) {
    return absl::NotFoundError(
        absl::StrCat("namespace_id ", namespace_id,
                     " is not open in this server process; call OpenNamespace first"));
  }
  return it->second.handle;
}

}  // namespace reprise::api
