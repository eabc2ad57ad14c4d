// Statistics by name, as StatsResponse carries them. Pure functions.
#pragma once

#include "api/session/lease_stats.h"
#include "cachestore/store/store_stats.h"
#include "engine/engine.h"
#include "reprise/v1/cache.pb.h"

namespace reprise::api {

// Writes every field of `stats` under its own name, and the sums the struct offers.
void ToProto(const cachestore::StoreStats& stats, v1::StatsResponse* response);
void ToProto(const engine::EngineStats& stats, v1::StatsResponse* response);
void ToProto(const LeaseStats::Values& stats, v1::StatsResponse* response);

}  // namespace reprise::api
