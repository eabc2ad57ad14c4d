// WatchHub: all Watch calls, and the one thread that waits for the store's events and wakes those
// calls that have been told everything. A call's queue is the store's own ring of events: a client
// that reads too slowly finds events forgotten (`lost`), and takes no more memory than one message.
// Thread-safe.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "api/auth/principal.h"
#include "api/view/event_feed.h"
#include "api/view/namespace_names.h"
#include "cachestore/store/tiered_store.h"
#include "reprise/v1/cache.pb.h"

namespace reprise::api {

// Watch calls of all clients at once.
inline constexpr int64_t kMaxWatches = 1024;

class WatchStream;

class WatchHub {
 public:
  // Both must outlive the hub.
  WatchHub(const cachestore::TieredStore* store, NamespaceNames* names);
  // REQUIRES: no call is left.
  ~WatchHub();

  using Reactor = grpc::ServerWriteReactor<v1::CacheEvent>;
  // Begins a call and returns its reactor, which deletes itself. kResourceExhausted: there are as
  // many as may be; kUnavailable: EndAll was called; else as EventFeed::Begin.
  Reactor* Start(grpc::CallbackServerContext* context, const Principal& principal,
                 const std::optional<cachestore::NamespaceHandle>& ns,
                 const v1::WatchRequest& request);
  // A call that ends with `status` at once.
  static Reactor* Refuse(const absl::Status& status);

  // Ends all calls with `status`, and takes no more.
  void EndAll(const absl::Status& status);

  // For WatchStream alone.
  void Remove(const std::shared_ptr<WatchStream>& stream);

 private:
  absl::Status Add(const std::shared_ptr<WatchStream>& stream);
  void Run();

  const EventFeed::Source source_;
  absl::Mutex mu_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  absl::Status closed_ ABSL_GUARDED_BY(mu_);  // why no more begin; OK: they do
  absl::flat_hash_set<std::shared_ptr<WatchStream>> streams_ ABSL_GUARDED_BY(mu_);
  std::thread thread_;  // last: it uses the others
};

}  // namespace reprise::api
