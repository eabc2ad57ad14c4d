// Session: what one client holds across the wire. A lease holds cached blocks in RAM until it is
// released, expires, or the session ends; a grant holds a slot that the client writes.
//
//     Acquire -> loading -> ready ----> released / expired / session ended
//                   \-> ended (no block could be loaded)
//
// With shared memory, a client that still lives may look at a slot although its lease has expired,
// or write into one that it was granted. So while a SessionAnchor is connected, what was shown to
// the client and ended other than by the client's own Release stays held ("anchored"), and counts
// as held, until the last anchor has gone.
//
// Owns the pins. Events are told from one thread, without any lock held. Thread-safe; one lock,
// under which the store's is taken.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "api/session/byte_budget.h"
#include "api/session/keeper.h"
#include "api/session/lease_stats.h"
#include "api/session/load_advice.h"
#include "api/session/random_id.h"
#include "api/session/session_limits.h"
#include "cachestore/store/tiered_store.h"
#include "reprise/v1/admin.pb.h"
#include "reprise/v1/cache.pb.h"

namespace reprise::api {

namespace v1 = ::reprise::v1;

// Whom a session tells what becomes of its leases. Thread-safe.
class SessionSink {
 public:
  virtual ~SessionSink() = default;
  // A lease has become ready, perhaps shorter than it was hoped, or has ended without Release.
  // Never blocks; must not call the session.
  virtual void OnLease(const v1::LeaseState& state) = 0;
  // The server ends the session, which holds nothing any more.
  virtual void OnEnd(const absl::Status& status) = 0;
};

// Where a session comes from, for people who look at the server's sessions.
struct SessionOrigin {
  std::string client_name;
  std::string peer;
};

// A block of a lease that is ready. Whoever shares its pin keeps that one block pinned.
struct LeasedBlock {
  std::shared_ptr<const cachestore::BlockRef> pin;
  bool from_gpu = false;
  bool from_disk = false;
};

// Some of a lease's blocks, in order.
struct LeasedBlocks {
  int64_t first_block = 0;  // of `blocks`, in the prompt
  int64_t end_block = 0;    // of the lease
  int64_t block_bytes = 0;
  std::vector<LeasedBlock> blocks;
};

// Whose a session is: a credential and its tenant. Plain data.
struct SessionOwner {
  std::string tenant;  // empty: an operator, whose sessions have no limit of their own
  std::string name;

  friend bool operator==(const SessionOwner&, const SessionOwner&) = default;
};

// kNotFound: what every call answers that comes too late.
absl::Status SessionEnded();
// Bytes of RAM that a block of `ns` takes.
int64_t SlotBytes(const cachestore::NamespaceHandle& ns);
// A time to live of `most` at most, as `field` of a request asks for in seconds; 0: `usual`.
// kInvalidArgument: it is negative or not finite.
absl::StatusOr<absl::Duration> TtlFrom(absl::string_view field, double seconds,
                                       absl::Duration usual, absl::Duration most);

class Session : public std::enable_shared_from_this<Session> {
 public:
  // What the session works with; what it does not share outlives it.
  struct Parts {
    cachestore::TieredStore* store = nullptr;
    ByteBudget* all_bytes = nullptr;           // of all sessions
    std::shared_ptr<ByteBudget> tenant_bytes;  // of those of its tenant
    LeaseStats* stats = nullptr;
    const SessionLimits* limits = nullptr;
    const SharedArena* arena = nullptr;
    std::shared_ptr<KeeperQueue> keeper;  // whose thread calls Expire when it is time
  };

  // A session of `owner`, named `id`. `shared`: the client sees the arena.
  Session(const Parts& parts, std::string id, SessionOwner owner, bool shared,
          std::shared_ptr<SessionSink> sink);

  const std::string& id() const { return id_; }
  const SessionOwner& owner() const { return owner_; }
  bool shared() const { return shared_; }
  // Whether the client may write what it sees of the arena.
  bool may_write() const { return may_write_; }
  // REQUIRES: nobody but the caller knows the session yet.
  void AllowWrites() { may_write_ = true; }
  // The longest that its leases and grants live without Renew; at first the usual.
  absl::Duration max_ttl() const { return max_ttl_; }
  // REQUIRES: nobody but the caller knows the session yet.
  void SetMaxTtl(absl::Duration ttl) { max_ttl_ = ttl; }

  // Matches, pins and starts loading (cache.proto). Never blocks. kInvalidArgument: a field out of
  // range; kResourceExhausted: the session, or all of them, hold as much as they may; kNotFound:
  // the session has ended.
  // `hints` are the request's. Where the caller `only_reads` the namespace, of those that come with
  // the lease's Release what HintsOfReader leaves counts.
  absl::StatusOr<v1::AcquireResponse> Acquire(const cachestore::NamespaceHandle& ns,
                                              const cachestore::BlockContent& prompt,
                                              const v1::AcquireRequest& request,
                                              const cachestore::RequestHints& hints = {},
                                              bool only_reads = false);

  // Extends leases and grants, all of them if `ids` is empty, and tells their state, without
  // places. Of all, only that of leases. kInvalidArgument: `ttl_seconds` is out of range.
  absl::StatusOr<std::vector<v1::LeaseState>> Renew(const std::vector<absl::string_view>& ids,
                                                    double ttl_seconds);

  // Ends leases and grants; how many of them were held. `end`: how the requests that the leases
  // were for have ended; null: nothing is said of that.
  int64_t Release(const std::vector<absl::string_view>& ids,
                  const cachestore::RequestEnd* end = nullptr);

  // Those blocks of a lease that are in `range` of the prompt; they stay pinned for as long as they
  // are shared, whatever becomes of the lease. kNotFound: there is no such lease, or it has ended;
  // kUnavailable: it is loading.
  absl::StatusOr<LeasedBlocks> BlocksOf(absl::string_view lease_id,
                                        cachestore::BlockRange range) const;

  // Runs `then` on the keeper's thread once the lease is not loading: soon, if it is not now; also
  // when the session ends. Each `waiter` may wait for a lease once at a time.
  void WhenSettled(absl::string_view lease_id, const void* waiter, std::function<void()> then);
  // Forgets what the waiter waits for, unless it is about to run.
  void StopWaiting(absl::string_view lease_id, const void* waiter);

  // Slots of `ns` for the client to write; fewer than asked for when there is no more room. Never
  // blocks. kResourceExhausted: none; kFailedPrecondition: not a session with shared memory.
  absl::StatusOr<std::vector<v1::GrantedSlot>> Grant(const cachestore::NamespaceHandle& ns,
                                                     int32_t num_blocks);
  // Ends a grant and hands out its slot, which the client writes no more. kNotFound: no such grant
  // of `ns`, or it has ended.
  absl::StatusOr<cachestore::WritableBlock> TakeGrant(const cachestore::NamespaceHandle& ns,
                                                      absl::string_view grant_id);

  // For people. Once, before anybody else has the session.
  void Describe(SessionOrigin origin);
  // What it is and holds now; nullopt: it has ended. Its public_id gives no access to it.
  std::optional<v1::SessionInfo> Info() const;

  // For SessionTable alone.
  // The client sees the arena from now on. kNotFound: the session has ended.
  absl::Status AddAnchor();
  void RemoveAnchor();
  // Takes what was loaded for the lease, and tells.
  void Settle(const std::string& lease_id);
  // Ends what has expired, and tells; when the next lease or grant does.
  absl::Time Expire(absl::Time now);
  // Ends everything. Nothing is told. Idempotent.
  void End();
  // The same, and tells the sink why.
  void End(const absl::Status& status);
  // Whether it has ended and nothing is anchored.
  bool gone() const;

 private:
  struct Lease {
    cachestore::NamespaceHandle ns;
    bool only_reads = false;  // the client, in the namespace
    int64_t first_block = 0;
    int64_t num_blocks = 0;  // held, or hoped for
    int64_t slot_bytes = 0;  // of each
    absl::Time expires;
    cachestore::PinTicket ticket;                    // while loading
    std::optional<std::vector<LeasedBlock>> blocks;  // once ready
    PromisedLoad promised;
    std::map<const void*, std::function<void()>> waiting;  // while loading: for WhenSettled
  };
  struct GrantedBlock {
    uint32_t namespace_id = 0;
    int64_t slot_bytes = 0;
    absl::Time expires;
    cachestore::WritableBlock block;
  };
  // What a client may still look at, or write into.
  struct Anchored {
    std::vector<LeasedBlock> blocks;
    cachestore::WritableBlock slot;
    int64_t bytes = 0;
  };
  // What ended leases and grants held. Let go of once the lock is free: each pin takes the store's.
  struct Freed {
    std::vector<Lease> leases;
    std::vector<GrantedBlock> grants;
  };
  using Leases = absl::flat_hash_map<std::string, Lease>;
  using Grants = absl::flat_hash_map<std::string, GrantedBlock>;

  // What Acquire works out before it holds anything.
  struct Plan {
    cachestore::BlockRange range;  // of the prompt, to pin
    int64_t asked_blocks = 0;      // leading blocks of the prompt that the request is for
    int64_t cached_blocks = 0;     // of the range, when asked
    // Of the range, so many were advised to be loaded; without advice, all.
    int64_t advised_blocks = std::numeric_limits<int64_t>::max();
    absl::Duration recompute_block = absl::InfiniteDuration();  // one, by the caller
    absl::Duration ttl;
    absl::Time load_deadline = absl::InfiniteFuture();
    PromisedLoad promised;
  };

  // Of a lease, by its request.
  absl::StatusOr<absl::Duration> TtlOf(double seconds) const;
  // Fills in the response but for its lease.
  absl::StatusOr<Plan> PlanOf(const cachestore::NamespaceHandle& ns,
                              const cachestore::BlockContent& prompt,
                              const v1::AcquireRequest& request,
                              v1::AcquireResponse& response) const;
  // Pins as planned, as a new lease, and returns its id; empty: nothing is cached there any more.
  absl::StatusOr<std::string> Hold(const cachestore::NamespaceHandle& ns,
                                   const cachestore::BlockContent& prompt, const Plan& plan,
                                   const cachestore::RequestHints& hints)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Tells the store how the request of a lease, which is the caller's alone, has ended.
  void TellEnd(const Lease& lease, const cachestore::RequestEnd& end) const
      ABSL_LOCKS_EXCLUDED(mu_);
  // A ticket for the range that tells the keeper when it is done.
  cachestore::PinTicket Pin(const cachestore::NamespaceHandle& ns,
                            const cachestore::BlockContent& prompt, cachestore::BlockRange range,
                            absl::Time deadline, const std::string& lease_id,
                            const cachestore::RequestHints& hints);
  // What of a lease that is ready is in `range` of the prompt.
  static LeasedBlocks SomeOf(const Lease& lease, cachestore::BlockRange range);
  // Takes the ticket's blocks. REQUIRES: the ticket is done.
  void TakeBlocks(Lease& lease) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  v1::LeaseState StateOf(const std::string& id, const Lease& lease, bool with_places) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // How a lease or grant ends. `released`: by the client, which uses it no more.
  void Drop(Leases::iterator lease, bool released, Freed& freed) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Drop(Grants::iterator grant, bool released, Freed& freed) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // It is not loading any more: runs what waits for that.
  void Wake(Lease& lease) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void EndLocked(Freed& freed) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void GiveBytes(int64_t bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // How many blocks of `slot_bytes` may be held more, `wanted` at most; they count as held.
  int64_t TakeBytes(int64_t slot_bytes, int64_t wanted) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status NoRoom(int64_t slot_bytes) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const Parts parts_;
  const std::string id_;
  const SessionOwner owner_;
  const bool shared_;
  // Constant once the session is known.
  bool may_write_ = false;
  absl::Duration max_ttl_;
  const std::shared_ptr<SessionSink> sink_;

  const std::string public_id_ = RandomId().substr(0, 8);  // drawn for itself
  const absl::Time opened_ = absl::Now();

  mutable absl::Mutex mu_;
  SessionOrigin origin_ ABSL_GUARDED_BY(mu_);
  bool ended_ ABSL_GUARDED_BY(mu_) = false;
  int anchors_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t held_bytes_ ABSL_GUARDED_BY(mu_) = 0;
  Leases leases_ ABSL_GUARDED_BY(mu_);
  Grants grants_ ABSL_GUARDED_BY(mu_);
  std::vector<Anchored> anchored_ ABSL_GUARDED_BY(mu_);
};

}  // namespace reprise::api
