#include "api/view/namespace_names.h"

#include "cachestore/block/namespace_identity.h"

namespace reprise::api {

std::string KeyBytes(const cachestore::BlockKey& key) {
  std::string bytes;
  for (const uint64_t half : {key.hi, key.lo}) {
    for (int shift = 56; shift >= 0; shift -= 8) bytes.push_back(static_cast<char>(half >> shift));
  }
  return bytes;
}

const char* TierName(cachestore::CacheTier tier) {
  switch (tier) {
    case cachestore::CacheTier::kGpu:
      return "gpu";
    case cachestore::CacheTier::kRam:
      return "ram";
    case cachestore::CacheTier::kDisk:
      break;
  }
  return "disk";
}

bool MaySee(const Principal& principal, const std::string& tenant) {
  return principal.tenant.empty() || principal.tenant == tenant || tenant == kSharedTenant;
}

KnownNamespace Describe(const cachestore::NamespaceInfo& info) {
  KnownNamespace known;
  known.tenant = info.tenant;
  known.name.set_tenant(info.tenant);
  known.name.set_root_key(KeyBytes(info.root));
  const auto identity = cachestore::NamespaceIdentity::Decode(info.identity);
  if (!identity.ok()) return known;  // of a newer version: it has a root and a tenant at least
  known.name.set_model_digest(identity->model_digest);
  known.name.set_salt(identity->salt);
  known.key_source = identity->key_source;
  known.block_tokens = identity->layout.block_tokens;
  return known;
}

std::shared_ptr<const KnownNamespace> NamespaceNames::Find(uint32_t store_id) {
  absl::MutexLock lock(&mu_);
  if (store_id >= known_.size()) {
    for (const cachestore::NamespaceUsage& usage : store_->Usage()) {
      if (usage.name.id < known_.size()) continue;
      known_.push_back(std::make_shared<const KnownNamespace>(Describe(usage.name)));
    }
  }
  return store_id < known_.size() ? known_[store_id] : nullptr;
}

}  // namespace reprise::api
