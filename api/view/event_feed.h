// EventFeed: the store's events as one watcher sees them: those of namespaces that it may know of,
// from a number on. Keeps a page of them at most; what the store has forgotten before the feed came
// to it is told as one `lost`. Thread-compatible.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/status/statusor.h"
#include "api/auth/principal.h"
#include "api/view/namespace_names.h"
#include "cachestore/store/tiered_store.h"
#include "reprise/v1/cache.pb.h"

namespace reprise::api {

class EventFeed {
 public:
  // What a feed works with; all outlive it.
  struct Source {
    const cachestore::TieredStore* store = nullptr;
    NamespaceNames* names = nullptr;
    uint64_t epoch = 0;  // of this process
  };

  // `ns`: that one alone. kOutOfRange: the number is not reached yet.
  static absl::StatusOr<EventFeed> Begin(const Source& source, const Principal& principal,
                                         const std::optional<cachestore::NamespaceHandle>& ns,
                                         const v1::WatchRequest& request);

  // The next event; false: there is none yet.
  bool Next(v1::CacheEvent* event);

 private:
  EventFeed(const Source& source, const Principal& principal) : source_(source), who_(principal) {}

  bool ReadPage();
  // The namespace of an event that the watcher may see; else nullptr.
  std::shared_ptr<const KnownNamespace> Seen(const cachestore::StoreEvent& event);
  void Tell(const cachestore::StoreEvent& first, const KnownNamespace& in, v1::CacheEvent* event);
  // Whether `more` belongs to the message that `last` is in.
  static bool Follows(const cachestore::StoreEvent& last, const cachestore::StoreEvent& more);
  // The block's token ids; false: it is gone.
  bool AddTokens(const cachestore::BlockKey& key, v1::BlocksStored* stored) const;

  Source source_;
  Principal who_;
  std::optional<uint32_t> only_;  // the store's number of the one namespace
  bool with_tokens_ = false;
  bool tell_lost_ = false;  // whatever the page says
  uint64_t next_ = 1;       // of the page after this one
  cachestore::EventPage page_;
  size_t at_ = 0;  // in the page
};

}  // namespace reprise::api
