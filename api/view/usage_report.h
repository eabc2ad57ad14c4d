// What namespaces take of each tier, as a message.
#pragma once

#include "api/auth/principal.h"
#include "api/session/lease_stats.h"
#include "cachestore/store/tiered_store.h"
#include "reprise/v1/cache.pb.h"

namespace reprise::api {

namespace v1 = ::reprise::v1;

// Of the namespaces that `principal` may see, by tenant; of `all` tenants besides. What all take
// together, and what sessions hold, is told with `all` alone: who sees it move learns what others
// do.
v1::UsageResponse UsageOf(const cachestore::TieredStore& store, const LeaseStats::Values& sessions,
                          const Principal& principal, bool all);

}  // namespace reprise::api
