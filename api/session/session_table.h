// SessionTable: the sessions of all clients, by their id. Owns them and the thread that ends leases
// which have expired and takes what has been loaded. Thread-safe.
//
// A session is there from Open until it has ended and its last anchor has gone; only while it has
// not ended is it found.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "api/session/byte_budget.h"
#include "api/session/keeper.h"
#include "api/session/lease_stats.h"
#include "api/session/session.h"
#include "api/session/session_limits.h"
#include "cachestore/store/tiered_store.h"

namespace reprise::api {

class SessionTable;

// What a client on this host sees of the arena is kept while this lives: one for each connection
// to the arena's socket. Must not outlive the table. Thread-compatible.
class SessionAnchor {
 public:
  // For the table alone.
  SessionAnchor(SessionTable* table, std::shared_ptr<Session> session)
      : table_(table), session_(std::move(session)) {}
  ~SessionAnchor();
  // Session::may_write.
  bool may_write() const { return session_->may_write(); }
  SessionAnchor(const SessionAnchor&) = delete;
  SessionAnchor& operator=(const SessionAnchor&) = delete;

 private:
  SessionTable* const table_;
  const std::shared_ptr<Session> session_;
};

class SessionTable {
 public:
  // `store` must outlive the table.
  SessionTable(cachestore::TieredStore* store, const SessionLimits& limits, SharedArena arena);
  // REQUIRES: no anchor and no sink is left.
  ~SessionTable();

  const SessionLimits& limits() const { return limits_; }
  const SharedArena& arena() const { return arena_; }

  // For what others have to do on its thread.
  const std::shared_ptr<KeeperQueue>& keeper() const { return keeper_.queue(); }

  // A new session of `owner`; `sink` hears of its leases until Close.
  // `shared_memory`: the client wants to see the arena. kResourceExhausted: the owner, or the
  // server, has as many sessions as may be; kFailedPrecondition: shared memory is not offered;
  // kUnavailable: EndAll was called.
  absl::StatusOr<std::shared_ptr<Session>> Open(const SessionOwner& owner, bool shared_memory,
                                                std::shared_ptr<SessionSink> sink);

  // kNotFound: `owner` has no such session, or it has ended.
  absl::StatusOr<std::shared_ptr<Session>> Find(const SessionOwner& owner,
                                                absl::string_view session_id) const;

  // Ends a session: its leases and grants go, except for what is anchored. Idempotent.
  void Close(const std::shared_ptr<Session>& session);

  // The client of a session with shared memory has connected to the arena's socket. kNotFound: no
  // such session, or it has ended; kFailedPrecondition: it did not ask for shared memory.
  absl::StatusOr<std::unique_ptr<SessionAnchor>> Anchor(absl::string_view session_id);

  // The sessions that have not ended.
  std::vector<v1::SessionInfo> List() const;
  // Ends the session that List names `public_id`, telling `status`. kNotFound: there is none.
  absl::Status End(absl::string_view public_id, const absl::Status& status);

  // Ends all sessions, telling `status`, and opens no more.
  void EndAll(const absl::Status& status);

  // Forgets the session if it is gone. For SessionAnchor alone.
  void Forget(const Session& session);

  // Counters, and the gauges of what is held now.
  LeaseStats::Values stats() const;

 private:
  // What the sessions of a tenant have in common, while there are any.
  struct Tenant {
    std::shared_ptr<ByteBudget> bytes;
    absl::flat_hash_map<std::string, int64_t> sessions;  // by the owner's name
  };
  using Sessions = absl::flat_hash_map<std::string, std::shared_ptr<Session>>;

  std::vector<std::shared_ptr<Session>> All() const ABSL_LOCKS_EXCLUDED(mu_);
  // Ends what has expired by `now`; when there is more to do.
  absl::Time Expire(absl::Time now);

  cachestore::TieredStore* const store_;
  const SessionLimits limits_;
  const SharedArena arena_;
  ByteBudget all_bytes_;
  LeaseStats stats_;

  mutable absl::Mutex mu_;
  absl::Status closed_ ABSL_GUARDED_BY(mu_);  // why no more are opened; OK: they are
  Sessions sessions_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<std::string, Tenant> tenants_ ABSL_GUARDED_BY(mu_);

  Keeper keeper_;  // last: its thread uses the others
};

}  // namespace reprise::api
