// RequestHints, RequestEnd: what the caller of a request knows of it and of what comes after, meant
// for the eviction policy. Plain data. All of it is optional, and none of it is trusted for more
// than the order in which blocks go.
#pragma once

#include <cstdint>
#include <optional>

#include "absl/time/time.h"

namespace reprise::cachestore {

struct RequestHints {
  // What a lookup is to the requests of users: each of those is to count once.
  enum class Use : uint8_t {
    kPart,     // of a request that was told of before, or no request of a user's at all
    kRequest,  // a request, told of with its whole prompt
    kAhead,    // of one that is expected
  };
  // How an answer ended.
  enum class Ending : uint8_t { kUnknown, kToolUse, kEndTurn, kOther };

  Use use = Use::kPart;
  // At the end of a request (RequestEnd) its own; before that, that of the turn before it.
  Ending ending = Ending::kUnknown;
  bool session_closed = false;   // no further turn will come
  uint64_t session = 0;          // a hash of the tenant and the caller's session id; 0: unknown
  uint64_t request = 0;          // the same in all calls for one request; 0: not said
  int32_t turn = -1;             // of the session, from 1; -1: unknown
  int32_t waiting_requests = 0;  // queued at the caller that share the prefix; no order uses it yet
  int32_t priority = 0;          // the blocks of a lower one go first; 0: the usual
  std::optional<double> reuse_probability;  // that the prefix is asked for again, from 0 to 1
  std::optional<absl::Duration> next_use;   // when that is expected, from now on
  std::optional<absl::Duration> ttl;        // unused for so long, the blocks are worth nothing

  // Whether they say what the blocks are worth.
  bool tell_worth() const {
    return priority != 0 || reuse_probability.has_value() || next_use.has_value() ||
           ttl.has_value();
  }
};

// What is known only when a request is over, or when blocks of it were stored.
struct RequestEnd {
  RequestHints hints;
  int64_t output_tokens = 0;  // 0: not known

  // Whether it is over; else more blocks of it may come.
  bool is_over() const {
    return hints.ending != RequestHints::Ending::kUnknown || hints.session_closed ||
           hints.request != 0 || output_tokens > 0;
  }
};

}  // namespace reprise::cachestore
