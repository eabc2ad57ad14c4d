// NamespaceTable: the namespaces that clients have opened, by the id they know them by, and who may
// use which. Thread-safe.
#pragma once

#include <cstdint>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/random/random.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "api/auth/principal.h"
#include "cachestore/store/tiered_store.h"

namespace reprise::api {

// A namespace, and what a caller may do with it. Plain data.
struct NamespaceRights {
  cachestore::NamespaceHandle handle;
  bool may_write = false;
};

class NamespaceTable {
 public:
  // `store` must outlive the table.
  explicit NamespaceTable(cachestore::TieredStore* store) : store_(store) {}

  // Opens the namespace of `identity`, whose tenant is what TenantToOpen allows `principal`, and
  // returns its wire id. kInvalidArgument: a field is missing; kResourceExhausted: a new one, and
  // the table is full, or the principal's tenant has opened its share.
  absl::StatusOr<uint32_t> Open(const Principal& principal,
                                const cachestore::NamespaceIdentity& identity);

  // For what reads. kNotFound: no client opened it in this process, or none that `principal` may
  // know of.
  absl::StatusOr<cachestore::NamespaceHandle> Find(const Principal& principal,
                                                   uint32_t namespace_id) const;
  // The same, and whether FindToWrite would find it.
  absl::StatusOr<NamespaceRights> FindRights(const Principal& principal,
                                             uint32_t namespace_id) const;
  // For what stores blocks or takes them out. kPermissionDenied besides: it is shared, and
  // `principal` is no publisher.
  absl::StatusOr<cachestore::NamespaceHandle> FindToWrite(const Principal& principal,
                                                          uint32_t namespace_id) const;

 private:
  struct Entry {
    cachestore::NamespaceHandle handle;
    std::string tenant;
  };

  cachestore::TieredStore* const store_;
  mutable absl::Mutex mu_;
  absl::BitGen random_ ABSL_GUARDED_BY(mu_);
  // By wire id, which is drawn at random: an id of an earlier process must not name another
  // namespace in this one.
  absl::flat_hash_map<uint32_t, Entry> entries_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<std::string, uint32_t> ids_ ABSL_GUARDED_BY(mu_);  // by identity encoding
  // How many the principals of each tenant have opened.
  absl::flat_hash_map<std::string, int64_t> opened_ ABSL_GUARDED_BY(mu_);
};

}  // namespace reprise::api
