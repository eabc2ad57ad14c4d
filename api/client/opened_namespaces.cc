#include "api/client/opened_namespaces.h"

namespace reprise::api {

void OpenedNamespaces::Add(uint32_t id, const v1::NamespaceIdentity& identity) {
  absl::MutexLock lock(&mu_);
  opened_[id] = {.identity = identity, .current = id};
}

void OpenedNamespaces::SetCurrent(uint32_t id, uint32_t current) {
  absl::MutexLock lock(&mu_);
  opened_[id].current = current;
}

uint32_t OpenedNamespaces::CurrentOf(uint32_t id) const {
  absl::MutexLock lock(&mu_);
  const auto opened = opened_.find(id);
  return opened == opened_.end() ? id : opened->second.current;
}

std::optional<v1::NamespaceIdentity> OpenedNamespaces::IdentityOf(uint32_t id) const {
  absl::MutexLock lock(&mu_);
  const auto opened = opened_.find(id);
  if (opened == opened_.end()) return std::nullopt;
  return opened->second.identity;
}

}  // namespace reprise::api
