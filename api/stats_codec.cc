#include "api/stats_codec.h"

#include <cstddef>
#include <cstdint>
#include <iterator>

namespace reprise::api {
namespace {

using cachestore::StoreStats;
using engine::EngineStats;

template <typename Stats>
struct Field {
  const char* name;
  int64_t Stats::*value;
};

constexpr Field<StoreStats> kStoreFields[] = {
    {"looked_up_tokens", &StoreStats::looked_up_tokens},
    {"hit_gpu_tokens", &StoreStats::hit_gpu_tokens},
    {"hit_ram_tokens", &StoreStats::hit_ram_tokens},
    {"hit_disk_tokens", &StoreStats::hit_disk_tokens},
    {"missed_absent_tokens", &StoreStats::missed_absent_tokens},
    {"missed_collision_tokens", &StoreStats::missed_collision_tokens},
    {"missed_corrupt_tokens", &StoreStats::missed_corrupt_tokens},
    {"missed_io_error_tokens", &StoreStats::missed_io_error_tokens},
    {"missed_no_room_tokens", &StoreStats::missed_no_room_tokens},
    {"missed_queue_full_tokens", &StoreStats::missed_queue_full_tokens},
    {"missed_deadline_tokens", &StoreStats::missed_deadline_tokens},
    {"missed_abandoned_tokens", &StoreStats::missed_abandoned_tokens},
    {"missed_lost_tokens", &StoreStats::missed_lost_tokens},
    {"missed_after_miss_tokens", &StoreStats::missed_after_miss_tokens},
    {"sealed_blocks", &StoreStats::sealed_blocks},
    {"duplicate_seals", &StoreStats::duplicate_seals},
    {"demoted_blocks", &StoreStats::demoted_blocks},
    {"promoted_blocks", &StoreStats::promoted_blocks},
    {"demoted_from_gpu_blocks", &StoreStats::demoted_from_gpu_blocks},
    {"promoted_to_gpu_blocks", &StoreStats::promoted_to_gpu_blocks},
    {"copied_from_gpu_blocks", &StoreStats::copied_from_gpu_blocks},
    {"lost_gpu_blocks", &StoreStats::lost_gpu_blocks},
    {"dropped_blocks", &StoreStats::dropped_blocks},
    {"rejected_blocks", &StoreStats::rejected_blocks},
    {"corrupt_ram_blocks", &StoreStats::corrupt_ram_blocks},
    {"failed_disk_writes", &StoreStats::failed_disk_writes},
    {"rejected_allocations", &StoreStats::rejected_allocations},
    {"requests", &StoreStats::requests},
    {"ended_requests", &StoreStats::ended_requests},
    {"touched_blocks", &StoreStats::touched_blocks},
    {"verified_blocks", &StoreStats::verified_blocks},
    {"corrupt_disk_blocks", &StoreStats::corrupt_disk_blocks},
    {"integrity_checks", &StoreStats::integrity_checks},
    {"failed_integrity_checks", &StoreStats::failed_integrity_checks},
    {"gpu_blocks", &StoreStats::gpu_blocks},
    {"gpu_used_bytes", &StoreStats::gpu_used_bytes},
    {"gpu_capacity_bytes", &StoreStats::gpu_capacity_bytes},
    {"ram_blocks", &StoreStats::ram_blocks},
    {"disk_blocks", &StoreStats::disk_blocks},
    {"ram_used_bytes", &StoreStats::ram_used_bytes},
    {"ram_capacity_bytes", &StoreStats::ram_capacity_bytes},
    {"ram_huge_page_bytes", &StoreStats::ram_huge_page_bytes},
    {"disk_used_bytes", &StoreStats::disk_used_bytes},
    {"disk_reserved_bytes", &StoreStats::disk_reserved_bytes},
    {"disk_capacity_bytes", &StoreStats::disk_capacity_bytes},
    {"pinned_blocks", &StoreStats::pinned_blocks},
    {"writing_blocks", &StoreStats::writing_blocks},
    {"queued_transfers", &StoreStats::queued_transfers},
    {"loading_blocks", &StoreStats::loading_blocks},
    {"storing_blocks", &StoreStats::storing_blocks},
    {"copying_to_gpu_blocks", &StoreStats::copying_to_gpu_blocks},
    {"copying_from_gpu_blocks", &StoreStats::copying_from_gpu_blocks},
    {"erasing_blocks", &StoreStats::erasing_blocks},
    {"condemned_blocks", &StoreStats::condemned_blocks},
    {"loading_tickets", &StoreStats::loading_tickets},
    {"starving_tickets", &StoreStats::starving_tickets},
    {"waiting_allocations", &StoreStats::waiting_allocations},
    {"load_bytes_per_second", &StoreStats::load_bytes_per_second},
    {"load_latency_us", &StoreStats::load_latency_us},
    {"copy_to_device_bytes_per_second", &StoreStats::copy_to_device_bytes_per_second},
    {"copy_to_host_bytes_per_second", &StoreStats::copy_to_host_bytes_per_second},
    {"recovered_blocks", &StoreStats::recovered_blocks},
    {"lost_disk_indexes", &StoreStats::lost_disk_indexes},
};

constexpr Field<EngineStats> kEngineFields[] = {
    {"finished_requests", &EngineStats::finished_requests},
    {"failed_requests", &EngineStats::failed_requests},
    {"prompt_tokens", &EngineStats::prompt_tokens},
    {"cached_tokens", &EngineStats::cached_tokens},
    {"prefilled_tokens", &EngineStats::prefilled_tokens},
    {"decoded_tokens", &EngineStats::decoded_tokens},
    {"followed_blocks", &EngineStats::followed_blocks},
    {"preemptions", &EngineStats::preemptions},
    {"recomputed_tokens", &EngineStats::recomputed_tokens},
    {"missed_deadlines", &EngineStats::missed_deadlines},
    {"passed_over_tokens", &EngineStats::passed_over_tokens},
    {"abandoned_loads", &EngineStats::abandoned_loads},
    {"arrived_prefixes", &EngineStats::arrived_prefixes},
    {"void_steps", &EngineStats::void_steps},
    {"uncached_requests", &EngineStats::uncached_requests},
    {"prefill_tokens_per_second", &EngineStats::prefill_tokens_per_second},
    {"waiting_requests", &EngineStats::waiting_requests},
    {"running_requests", &EngineStats::running_requests},
};

constexpr Field<LeaseStats::Values> kLeaseFields[] = {
    {"sessions", &LeaseStats::Values::sessions},
    {"leases", &LeaseStats::Values::leases},
    {"grants", &LeaseStats::Values::grants},
    {"held_bytes", &LeaseStats::Values::held_bytes},
    {"prefetches", &LeaseStats::Values::prefetches},
    {"acquired_leases", &LeaseStats::Values::acquired_leases},
    {"released_leases", &LeaseStats::Values::released_leases},
    {"expired_leases", &LeaseStats::Values::expired_leases},
    {"orphaned_leases", &LeaseStats::Values::orphaned_leases},
    {"failed_leases", &LeaseStats::Values::failed_leases},
    {"advised_loads", &LeaseStats::Values::advised_loads},
    {"advised_part_loads", &LeaseStats::Values::advised_part_loads},
    {"advised_recomputes", &LeaseStats::Values::advised_recomputes},
    {"ignored_advice", &LeaseStats::Values::ignored_advice},
    {"foretold_loads", &LeaseStats::Values::foretold_loads},
    {"foretold_load_us", &LeaseStats::Values::foretold_load_us},
    {"real_load_us", &LeaseStats::Values::real_load_us},
    {"late_loads", &LeaseStats::Values::late_loads},
    {"regretted_loads", &LeaseStats::Values::regretted_loads},
    {"advice_regret_us", &LeaseStats::Values::advice_regret_us},
};

// A field that is added to a struct and not here must not be missed.
static_assert(std::size(kStoreFields) * sizeof(int64_t) + sizeof(StoreStats::removed_blocks) +
                  4 * sizeof(cachestore::LatencyHistogram) ==
              sizeof(StoreStats));
static_assert(std::size(kEngineFields) * sizeof(int64_t) == sizeof(EngineStats));
static_assert(std::size(kLeaseFields) * sizeof(int64_t) == sizeof(LeaseStats::Values));

}  // namespace

void ToProto(const StoreStats& stats, v1::StatsResponse* response) {
  auto& values = *response->mutable_store();
  for (const Field<StoreStats>& field : kStoreFields) values[field.name] = stats.*field.value;
  values["missed_tokens"] = stats.missed_tokens();
}

void ToProto(const EngineStats& stats, v1::StatsResponse* response) {
  auto& values = *response->mutable_engine();
  for (const Field<EngineStats>& field : kEngineFields) values[field.name] = stats.*field.value;
}

void ToProto(const LeaseStats::Values& stats, v1::StatsResponse* response) {
  auto& values = *response->mutable_sessions();
  for (const Field<LeaseStats::Values>& field : kLeaseFields) {
    values[field.name] = stats.*field.value;
  }
}

}  // namespace reprise::api
