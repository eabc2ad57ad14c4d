// What counts of the hints of a caller that only reads a namespace. Pure functions, thread-safe.
#pragma once

#include "cachestore/policy/request_hints.h"

namespace reprise::api {

// What its requests belong to. The rest of `hints` says what blocks are worth, which is for those
// to say who store them; the turn too, which may say that the one before is left behind.
inline cachestore::RequestHints HintsOfReader(const cachestore::RequestHints& hints) {
  return {.use = hints.use,
          .session = hints.session,
          .request = hints.request,
          .waiting_requests = hints.waiting_requests};
}

}  // namespace reprise::api
