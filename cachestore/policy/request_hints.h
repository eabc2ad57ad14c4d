// RequestHints, RequestEnd: what the caller of a request knows of it and of what comes after, meant
// for the eviction policy. Plain data. All of it is optional, and none of it is trusted for more
// than the order in which blocks go. LRU uses nothing of it; what is said below is of the order
// that is learned (ReusePolicy).
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
  // At the end of a request (RequestEnd) its own, which the model learns from; before that, that of
  // the turn before it, and not used: only of turns that a later one came after would it be known.
  Ending ending = Ending::kUnknown;
  bool session_closed = false;  // no further turn will come; used at the end of a request
  uint64_t session = 0;         // a hash of the tenant and the caller's session id; 0: unknown
  uint64_t request = 0;         // the same in all calls for one request; 0: not said
  // Of the session, from 1; -1: unknown. For a conversation whose beginning was not seen. Where
  // the blocks of none are known, a session goes on with the turn after the last one told, and
  // what that has left behind goes first.
  int32_t turn = -1;
  int32_t waiting_requests = 0;  // queued at the caller that share the prefix; no order uses it yet
  // Each step doubles what the blocks are worth to keep, up to 16 either way; beyond that nothing
  // changes. 0: the usual. While blocks go by age, those of a lower one go first.
  int32_t priority = 0;
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
