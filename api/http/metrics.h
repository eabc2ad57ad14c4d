// Metrics: the counters, gauges and histograms of store, engine, sessions and HTTP server in
// Prometheus' text format. Every series is there from the start, at 0. README.md lists them all.
// Pure functions, thread-safe.
#pragma once

#include <cstdint>
#include <string>

#include "api/session/lease_stats.h"
#include "cachestore/store/store_stats.h"
#include "engine/engine.h"

namespace reprise::api {

// What a scrape tells. Of what is not there yet (no store before recovery, no engine without a
// model) zeros.
struct MetricsInput {
  cachestore::StoreStats store;
  engine::EngineStats engine;
  LeaseStats::Values sessions;
  bool ready = false;
  int64_t http_connections = 0;
};

// The content type of the format.
inline constexpr char kMetricsContentType[] = "text/plain; version=0.0.4; charset=utf-8";

std::string MetricsText(const MetricsInput& input);

}  // namespace reprise::api
