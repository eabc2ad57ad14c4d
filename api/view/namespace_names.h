// NamespaceNames: what people and messages call the store's namespaces, by their number in this
// process, and who may know of them. A namespace never changes, so each is asked for once.
// Thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "api/auth/principal.h"
#include "cachestore/store/tiered_store.h"
#include "reprise/v1/cache.pb.h"

namespace reprise::api {

namespace v1 = ::reprise::v1;

// The 16 bytes of a key in messages, in the order of its hex digits.
std::string KeyBytes(const cachestore::BlockKey& key);

// "gpu", "ram" or "disk".
const char* TierName(cachestore::CacheTier tier);

// Whether `principal` may see namespaces of `tenant`.
bool MaySee(const Principal& principal, const std::string& tenant);

struct KnownNamespace {
  v1::NamespaceName name;
  std::string tenant;
  cachestore::KeySource key_source = cachestore::KeySource::kTokens;
  int32_t block_tokens = 0;
};

// Of a namespace as the store tells it.
KnownNamespace Describe(const cachestore::NamespaceInfo& info);

class NamespaceNames {
 public:
  // `store` must outlive it.
  explicit NamespaceNames(const cachestore::TieredStore* store) : store_(store) {}

  // nullptr: there is no such namespace.
  std::shared_ptr<const KnownNamespace> Find(uint32_t store_id);

 private:
  const cachestore::TieredStore* const store_;
  absl::Mutex mu_;
  std::vector<std::shared_ptr<const KnownNamespace>> known_ ABSL_GUARDED_BY(mu_);  // by number
};

}  // namespace reprise::api
