// OpenedNamespaces: what a client has opened, by the ids that it was told. A server that was
// started anew knows none of them: what was opened is opened again then, and has another id there.
// Thread-safe. Used by the client library alone.
#pragma once

#include <cstdint>
#include <optional>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "reprise/v1/cache.pb.h"

namespace reprise::api {

namespace v1 = ::reprise::v1;

class OpenedNamespaces {
 public:
  // The server has told `id` for `identity`.
  void Add(uint32_t id, const v1::NamespaceIdentity& identity);
  // What was opened as `id` has the id `current` in the server's process of now.
  void SetCurrent(uint32_t id, uint32_t current);

  // The id, in the server's process as far as it is known, of what was opened as `id`; `id` itself
  // when nothing was.
  uint32_t CurrentOf(uint32_t id) const;
  // What was opened as `id`; nullopt: nothing was.
  std::optional<v1::NamespaceIdentity> IdentityOf(uint32_t id) const;

 private:
  struct Opened {
    v1::NamespaceIdentity identity;
    uint32_t current = 0;
  };

  mutable absl::Mutex mu_;
  absl::flat_hash_map<uint32_t, Opened> opened_ ABSL_GUARDED_BY(mu_);
};

}  // namespace reprise::api
