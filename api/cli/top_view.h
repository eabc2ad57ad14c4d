// What `cache top` shows of a server, as text. Pure functions, thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "absl/time/time.h"
#include "reprise/v1/cache.pb.h"

namespace reprise::api {

// What was seen of a server at one time. Plain data.
struct TopSample {
  absl::Time time;
  v1::StatsResponse stats;
  v1::UsageResponse usage;  // of all tenants
};

// Tables of `now`, 100 columns wide at most but for long names. Rates are those since `before`;
// nullptr, or another start of the server: there are none yet. Of namespaces the `max_namespaces`
// that take most are shown.
std::string TopText(const TopSample* before, const TopSample& now, size_t max_namespaces);

}  // namespace reprise::api
