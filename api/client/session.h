// CacheSession and Lease: blocks held in a server's RAM for this client. A session renews its
// leases by itself and ends with its object; so do they when the process dies.
//
//     auto session = CacheSession::Open("unix:/run/reprise.sock", {});
//     auto acquired = (*session)->Acquire(ns, prompt, {}, timeout);
//     if (acquired->lease && acquired->lease.Wait(deadline).phase() == v1::LEASE_PHASE_READY) ...
//
// Thread-safe; a Lease is used by one thread at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "api/client/channel.h"
#include "cachestore/block/block_content.h"
#include "reprise/v1/cache.grpc.pb.h"

namespace reprise::api {

namespace v1 = ::reprise::v1;

class SessionCore;  // what leases and the session's threads share

// A lease that is released when it is destroyed. May outlive its session, and has ended then.
class Lease {
 public:
  Lease() = default;
  Lease(Lease&&) noexcept = default;
  Lease& operator=(Lease&& other) noexcept;
  ~Lease() { Release(); }

  explicit operator bool() const { return core_ != nullptr; }
  const std::string& id() const { return id_; }

  // How it stands, by what the server has told.
  v1::LeaseState state() const;
  // The same, once it is not loading any more, or at `deadline`. BLOCKS.
  v1::LeaseState Wait(absl::Time deadline) const;
  // Ends it soon; its blocks must not be used from now on. Never blocks.
  void Release();

  // For CacheSession alone.
  Lease(std::shared_ptr<SessionCore> core, std::string id)
      : core_(std::move(core)), id_(std::move(id)) {}

 private:
  std::shared_ptr<SessionCore> core_;
  std::string id_;
};

// What Acquire came to.
struct Acquired {
  v1::AcquireResponse response;
  Lease lease;  // none: nothing is held
};

class CacheSession {
 public:
  struct Options {
    ClientAccess access;
    std::string client_name;
    bool shared_memory = false;        // asks for it; MappedArena maps it
    bool write_shared_memory = false;  // and to write granted slots
    absl::Duration ttl;                // of leases that are not renewed, 30 s at most; zero: 4 s
    absl::Duration open_timeout = absl::Seconds(10);
    // Told, on the session's thread, of each lease that has become ready or has ended without
    // Release, and, once, of the session's end other than by its object's. May be empty; must not
    // destroy the session.
    std::function<void(const v1::LeaseState&)> on_lease;
    std::function<void(const absl::Status&)> on_end;
  };

  // Opens a session with the server at `address`. BLOCKS until it is open. kUnavailable: no server;
  // kResourceExhausted: the server has as many sessions as it may.
  static absl::StatusOr<std::unique_ptr<CacheSession>> Open(const std::string& address,
                                                            const Options& options);
  // Ends the session, and with it every lease.
  ~CacheSession();

  // What the server told of the session: its id, limits, and where its memory is.
  const v1::SessionOpened& opened() const { return opened_; }
  absl::string_view id() const { return opened_.session_id(); }

  // Matches, holds and starts loading the cached prefix of `prompt`. Of `wanted` all fields may be
  // set but session, namespace and prompt. BLOCKS for the call alone, not for loads. Errors are the
  // server's.
  absl::StatusOr<Acquired> Acquire(uint32_t namespace_id, const cachestore::BlockContent& prompt,
                                   v1::AcquireRequest wanted, absl::Duration timeout);

  // Releases `lease` now and tells how the request that it was for has ended: finish_reason,
  // session_closed, and the tokens of its answer (0: not said). BLOCKS. Errors are the server's.
  absl::Status EndRequest(Lease lease, const v1::CacheHints& hints, int64_t output_tokens,
                          absl::Duration timeout);

  // Sends what leases have been destroyed since, and renews the others. Done by itself when it is
  // time; for tests and for those who want room now. BLOCKS.
  absl::Status Flush(absl::Duration timeout);

  // Whether the session has ended: why; else OK.
  absl::Status status() const;

 private:
  CacheSession(std::shared_ptr<SessionCore> core, v1::SessionOpened opened);

  const std::shared_ptr<SessionCore> core_;
  const v1::SessionOpened opened_;
  std::thread reader_;   // takes the server's events
  std::thread renewer_;  // renews and releases
};

}  // namespace reprise::api
