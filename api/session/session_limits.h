// SessionLimits: what sessions may hold, and what they may see of the arena. Plain data.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/time/time.h"
#include "absl/types/span.h"

namespace reprise::api {

struct SessionLimits {
  int64_t sessions = 0;                // of all clients
  int64_t sessions_per_principal = 0;  // of one owner
  int64_t holdings_per_session = 0;    // leases and grants
  int64_t bytes_per_session = 0;       // of RAM, that its leases and grants hold
  int64_t bytes_per_tenant = 0;        // that the sessions of one tenant hold
  int64_t bytes = 0;                   // that all sessions hold
  int64_t unsent_events = 0;           // that wait for a client which does not read them
  absl::Duration usual_ttl;            // of leases that are not renewed, most of a usual session
  absl::Duration max_ttl;              // most of a session that asks for more
};

// The RAM tier as clients on this host may map it.
struct SharedArena {
  std::string socket_path;            // where its file is handed out; empty: it is not offered
  absl::Span<const std::byte> bytes;  // places of blocks count from its begin
};

}  // namespace reprise::api
