// Metrics: the counters, gauges and histograms of store, engine, sessions and HTTP server in
// Prometheus' text format. Every series is there from the start, at 0, but those of tenants, calls
// and TLS.
// README.md lists them all. Pure functions, thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "api/log/call_times.h"
#include "api/record/recording_totals.h"
#include "api/session/lease_stats.h"
#include "cachestore/store/store_stats.h"
#include "cachestore/store/tenant_quota.h"
#include "cachestore/store/what_if.h"
#include "engine/engine.h"

namespace reprise::api {

// A tenant with a quota, and what it takes.
struct TenantBytes {
  std::string tenant;
  cachestore::TenantQuota quota;
  cachestore::TenantQuota used;
};

// What a scrape tells. Of what is not there yet (no store before recovery, no engine without a
// model) zeros.
struct MetricsInput {
  cachestore::StoreStats store;
  engine::EngineStats engine;
  LeaseStats::Values sessions;
  RecordingTotals recordings;
  std::vector<TenantBytes> tenants;  // that have a quota
  CallTimes::ByRpc calls;
  cachestore::WhatIfReport what_if;
  bool ready = false;
  int64_t http_connections = 0;
  absl::Time certificate_ends = absl::InfiniteFuture();  // for ever: there is no TLS
};

// The content type of the format.
inline constexpr char kMetricsContentType[] = "text/plain; version=0.0.4; charset=utf-8";

std::string MetricsText(const MetricsInput& input);

}  // namespace reprise::api
