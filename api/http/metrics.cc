#include "api/http/metrics.h"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <limits>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"

namespace reprise::api {
namespace {

using cachestore::StoreStats;
using engine::EngineStats;
using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

constexpr MetricType kCounter = MetricType::Counter;
constexpr MetricType kGauge = MetricType::Gauge;

// One series. Those of one family follow each other and have one type and help.
template <typename Stats>
struct Series {
  const char* name;
  MetricType type;
  int64_t Stats::*value;
  const char* help;
  const char* label = nullptr;
  const char* label_value = nullptr;
  double unit = 1;  // of `value`, in the metric's unit
};

constexpr char kHit[] = "Tokens of full blocks asked for that were found, by where they lay.";
constexpr char kMiss[] = "Tokens of full blocks asked for that were not found, by why.";
constexpr char kDemoted[] = "Blocks that left the tier with a copy below.";
constexpr char kPromoted[] = "Blocks copied up into the tier.";
constexpr char kBlocks[] = "Sealed blocks in the tier.";
constexpr char kUsed[] = "Bytes of the tier's budget that are taken.";
constexpr char kCapacity[] = "The tier's budget in bytes.";
constexpr char kTransferring[] = "Blocks on their way between tiers, queued or copied.";
constexpr char kTransferTime[] =
    "How long a block took from tier to tier, of those that ended well; in a batch, as long as it.";
constexpr char kCopyRate[] = "Rate of the last copies between RAM and the GPU; 0: none yet.";

using S = StoreStats;
constexpr Series<S> kStoreSeries[] = {
    {"reprise_lookup_tokens_total", kCounter, &S::looked_up_tokens,
     "Tokens of full blocks asked for; hits and misses add up to it while no load is under way."},
    {"reprise_hit_tokens_total", kCounter, &S::hit_gpu_tokens, kHit, "tier", "gpu"},
    {"reprise_hit_tokens_total", kCounter, &S::hit_ram_tokens, kHit, "tier", "ram"},
    {"reprise_hit_tokens_total", kCounter, &S::hit_disk_tokens, kHit, "tier", "disk"},
    {"reprise_miss_tokens_total", kCounter, &S::missed_absent_tokens, kMiss, "reason", "absent"},
    {"reprise_miss_tokens_total", kCounter, &S::missed_collision_tokens, kMiss, "reason",
     "collision"},
    {"reprise_miss_tokens_total", kCounter, &S::missed_corrupt_tokens, kMiss, "reason", "corrupt"},
    {"reprise_miss_tokens_total", kCounter, &S::missed_io_error_tokens, kMiss, "reason",
     "io_error"},
    {"reprise_miss_tokens_total", kCounter, &S::missed_no_room_tokens, kMiss, "reason", "no_room"},
    {"reprise_miss_tokens_total", kCounter, &S::missed_queue_full_tokens, kMiss, "reason",
     "queue_full"},
    {"reprise_miss_tokens_total", kCounter, &S::missed_deadline_tokens, kMiss, "reason",
     "deadline"},
    {"reprise_miss_tokens_total", kCounter, &S::missed_abandoned_tokens, kMiss, "reason",
     "abandoned"},
    {"reprise_miss_tokens_total", kCounter, &S::missed_lost_tokens, kMiss, "reason", "lost"},
    {"reprise_miss_tokens_total", kCounter, &S::missed_after_miss_tokens, kMiss, "reason",
     "after_miss"},
    {"reprise_sealed_blocks_total", kCounter, &S::sealed_blocks, "Blocks sealed."},
    {"reprise_duplicate_seals_total", kCounter, &S::duplicate_seals,
     "Of these, blocks that were in that tier already."},
    {"reprise_demoted_blocks_total", kCounter, &S::demoted_from_gpu_blocks, kDemoted, "tier",
     "gpu"},
    {"reprise_demoted_blocks_total", kCounter, &S::demoted_blocks, kDemoted, "tier", "ram"},
    {"reprise_promoted_blocks_total", kCounter, &S::promoted_to_gpu_blocks, kPromoted, "tier",
     "gpu"},
    {"reprise_promoted_blocks_total", kCounter, &S::promoted_blocks, kPromoted, "tier", "ram"},
    {"reprise_copied_from_gpu_blocks_total", kCounter, &S::copied_from_gpu_blocks,
     "Blocks copied from the GPU to RAM."},
    {"reprise_lost_gpu_blocks_total", kCounter, &S::lost_gpu_blocks,
     "Blocks that only the GPU had when it failed."},
    {"reprise_dropped_blocks_total", kCounter, &S::dropped_blocks,
     "Blocks that left their last tier."},
    {"reprise_rejected_blocks_total", kCounter, &S::rejected_blocks,
     "Blocks that were not admitted to disk."},
    {"reprise_corrupt_ram_blocks_total", kCounter, &S::corrupt_ram_blocks,
     "Blocks dropped because their bytes changed in RAM."},
    {"reprise_failed_disk_writes_total", kCounter, &S::failed_disk_writes,
     "Batches of stores or erases, and saves, that the disk failed."},
    {"reprise_rejected_allocations_total", kCounter, &S::rejected_allocations,
     "Allocations refused for want of room."},
    {"reprise_cache_requests_total", kCounter, &S::requests,
     "Prompts looked up to be used: by the engine, Acquire, Touch, or Get with hints."},
    {"reprise_ended_cache_requests_total", kCounter, &S::ended_requests,
     "Requests and runs of stored blocks whose end was told."},
    {"reprise_touched_blocks_total", kCounter, &S::touched_blocks,
     "Blocks counted as used by Touch."},
    {"reprise_verified_blocks_total", kCounter, &S::verified_blocks,
     "Copies on disk that Verify found good."},
    {"reprise_corrupt_disk_blocks_total", kCounter, &S::corrupt_disk_blocks,
     "Copies on disk that were not what was stored."},
    {"reprise_integrity_checks_total", kCounter, &S::integrity_checks,
     "Checks of the store's own books."},
    {"reprise_failed_integrity_checks_total", kCounter, &S::failed_integrity_checks,
     "Of these, failed ones: each means a bug in Reprise."},
    {"reprise_blocks", kGauge, &S::gpu_blocks, kBlocks, "tier", "gpu"},
    {"reprise_blocks", kGauge, &S::ram_blocks, kBlocks, "tier", "ram"},
    {"reprise_blocks", kGauge, &S::disk_blocks, kBlocks, "tier", "disk"},
    {"reprise_used_bytes", kGauge, &S::gpu_used_bytes, kUsed, "tier", "gpu"},
    {"reprise_used_bytes", kGauge, &S::ram_used_bytes, kUsed, "tier", "ram"},
    {"reprise_used_bytes", kGauge, &S::disk_used_bytes, kUsed, "tier", "disk"},
    {"reprise_capacity_bytes", kGauge, &S::gpu_capacity_bytes, kCapacity, "tier", "gpu"},
    {"reprise_capacity_bytes", kGauge, &S::ram_capacity_bytes, kCapacity, "tier", "ram"},
    {"reprise_capacity_bytes", kGauge, &S::disk_capacity_bytes, kCapacity, "tier", "disk"},
    {"reprise_ram_huge_page_bytes", kGauge, &S::ram_huge_page_bytes,
     "Of RAM's budget, bytes in huge pages."},
    {"reprise_disk_reserved_bytes", kGauge, &S::disk_reserved_bytes,
     "Sizes of all payload files on disk."},
    {"reprise_pinned_blocks", kGauge, &S::pinned_blocks,
     "Blocks with at least one pin; one pinned in two tiers counts twice."},
    {"reprise_writing_blocks", kGauge, &S::writing_blocks, "Blocks allocated and not sealed."},
    {"reprise_queued_transfers", kGauge, &S::queued_transfers,
     "Copies of blocks from tier to tier that have not ended: the sum of the next four."},
    {"reprise_transferring_blocks", kGauge, &S::loading_blocks, kTransferring, "transfer",
     "disk_to_ram"},
    {"reprise_transferring_blocks", kGauge, &S::storing_blocks, kTransferring, "transfer",
     "ram_to_disk"},
    {"reprise_transferring_blocks", kGauge, &S::copying_to_gpu_blocks, kTransferring, "transfer",
     "ram_to_gpu"},
    {"reprise_transferring_blocks", kGauge, &S::copying_from_gpu_blocks, kTransferring, "transfer",
     "gpu_to_ram"},
    {"reprise_erasing_blocks", kGauge, &S::erasing_blocks, "Copies on disk being erased."},
    {"reprise_condemned_blocks", kGauge, &S::condemned_blocks,
     "Copies on disk that wait to be erased."},
    {"reprise_loading_prefixes", kGauge, &S::loading_tickets, "Prefixes that are being loaded."},
    {"reprise_starving_prefixes", kGauge, &S::starving_tickets,
     "Of these, prefixes without a slot to load into."},
    {"reprise_waiting_allocations", kGauge, &S::waiting_allocations,
     "Calls that wait for room in RAM."},
    {"reprise_disk_load_bytes_per_second", kGauge, &S::load_bytes_per_second,
     "Rate of the last loads from disk; 0: none yet."},
    {"reprise_disk_load_latency_seconds", kGauge, &S::load_latency_us,
     "Time of a lone load from disk beyond its bytes at that rate.", nullptr, nullptr, 1e-6},
    {"reprise_gpu_copy_bytes_per_second", kGauge, &S::copy_to_device_bytes_per_second, kCopyRate,
     "direction", "to_gpu"},
    {"reprise_gpu_copy_bytes_per_second", kGauge, &S::copy_to_host_bytes_per_second, kCopyRate,
     "direction", "to_ram"},
    {"reprise_recovered_blocks", kGauge, &S::recovered_blocks,
     "Blocks found on disk when the store was opened."},
    {"reprise_lost_disk_indexes", kGauge, &S::lost_disk_indexes,
     "Damaged disk indexes that were set aside then."},
};

constexpr char kRequests[] = "Requests to generate that have ended, by how.";

using E = EngineStats;
constexpr Series<E> kEngineSeries[] = {
    {"reprise_requests_total", kCounter, &E::finished_requests, kRequests, "outcome", "finished"},
    {"reprise_requests_total", kCounter, &E::failed_requests, kRequests, "outcome", "failed"},
    {"reprise_prompt_tokens_total", kCounter, &E::prompt_tokens,
     "Prompt tokens of admitted requests."},
    {"reprise_cached_tokens_total", kCounter, &E::cached_tokens,
     "Of these, tokens that were not computed."},
    {"reprise_prefilled_tokens_total", kCounter, &E::prefilled_tokens,
     "Prompt tokens that were computed."},
    {"reprise_decoded_tokens_total", kCounter, &E::decoded_tokens, "New tokens."},
    {"reprise_followed_blocks_total", kCounter, &E::followed_blocks,
     "Blocks that a request waited for while another one computed them."},
    {"reprise_preemptions_total", kCounter, &E::preemptions,
     "Sequences that gave their blocks back for others."},
    {"reprise_recomputed_tokens_total", kCounter, &E::recomputed_tokens,
     "Tokens computed again after that."},
    {"reprise_missed_deadlines_total", kCounter, &E::missed_deadlines,
     "Requests that ended by their deadline."},
    {"reprise_passed_over_tokens_total", kCounter, &E::passed_over_tokens,
     "Tokens cached on disk that were sooner computed than loaded."},
    {"reprise_abandoned_loads_total", kCounter, &E::abandoned_loads,
     "Prefixes that were not all loaded in time."},
    {"reprise_arrived_prefixes_total", kCounter, &E::arrived_prefixes,
     "Prefixes used by a step while they were loaded."},
    {"reprise_void_steps_total", kCounter, &E::void_steps,
     "Steps that waited in vain for a prefix to arrive."},
    {"reprise_uncached_requests_total", kCounter, &E::uncached_requests,
     "Requests that went without the cache, as too many namespaces (tenants and salts) were open."},
    {"reprise_prefill_tokens_per_second", kGauge, &E::prefill_tokens_per_second,
     "Rate of the last large steps; 0: none yet."},
    {"reprise_waiting_requests", kGauge, &E::waiting_requests,
     "Requests queued; each sample counts."},
    {"reprise_running_requests", kGauge, &E::running_requests,
     "Requests computed; each sample counts."},
};

using L = LeaseStats::Values;
constexpr char kEnded[] = "Leases that ended, by how.";
constexpr char kAdvice[] = "Advice given to those who acquire a lease, by what it was.";
constexpr Series<L> kSessionSeries[] = {
    {"reprise_sessions", kGauge, &L::sessions, "Sessions."},
    {"reprise_leases", kGauge, &L::leases, "Leases that are held."},
    {"reprise_grants", kGauge, &L::grants, "Slots granted to writers of this host."},
    {"reprise_held_bytes", kGauge, &L::held_bytes, "Bytes of RAM held by leases and grants."},
    {"reprise_prefetches", kGauge, &L::prefetches, "Prefetches under way."},
    {"reprise_acquired_leases_total", kCounter, &L::acquired_leases, "Leases acquired."},
    {"reprise_ended_leases_total", kCounter, &L::released_leases, kEnded, "reason", "released"},
    {"reprise_ended_leases_total", kCounter, &L::expired_leases, kEnded, "reason", "expired"},
    {"reprise_ended_leases_total", kCounter, &L::orphaned_leases, kEnded, "reason", "orphaned"},
    {"reprise_ended_leases_total", kCounter, &L::failed_leases, kEnded, "reason", "failed"},
    {"reprise_advice_total", kCounter, &L::advised_loads, kAdvice, "advice", "load"},
    {"reprise_advice_total", kCounter, &L::advised_part_loads, kAdvice, "advice", "part_load"},
    {"reprise_advice_total", kCounter, &L::advised_recomputes, kAdvice, "advice", "recompute"},
    {"reprise_ignored_advice_total", kCounter, &L::ignored_advice,
     "Of this advice, such that the lease holds more than was advised to be loaded."},
    {"reprise_foretold_loads_total", kCounter, &L::foretold_loads,
     "Loads that were foretold and have ended well."},
    {"reprise_foretold_load_seconds_total", kCounter, &L::foretold_load_us,
     "Time foretold for these: the sum of the medians.", nullptr, nullptr, 1e-6},
    {"reprise_real_load_seconds_total", kCounter, &L::real_load_us, "Time that these took.",
     nullptr, nullptr, 1e-6},
    {"reprise_late_loads_total", kCounter, &L::late_loads,
     "Of these, loads that took longer than the 90th percentile foretold."},
    {"reprise_regretted_loads_total", kCounter, &L::regretted_loads,
     "Of these, loads that were advised and took longer than computing their blocks would have."},
    {"reprise_advice_regret_seconds_total", kCounter, &L::advice_regret_us, "By how much they did.",
     nullptr, nullptr, 1e-6},
};

using R = RecordingTotals;
constexpr Series<R> kRecordingSeries[] = {
    {"reprise_recordings", kGauge, &R::running, "Recordings of requests under way: 0 or 1."},
    {"reprise_recorded_requests_total", kCounter, &R::requests, "Requests in recordings' files."},
    {"reprise_recording_dropped_requests_total", kCounter, &R::dropped_requests,
     "Requests that a recording left out: they came faster than they were written, or after it had "
     "ended by itself, or with other blocks."},
};

// By CacheTier and Removal.
constexpr const char* kTierLabels[] = {"gpu", "ram", "disk"};
constexpr const char* kRemovalLabels[] = {"evicted", "invalidated", "failed_verification", "lost",
                                          "not_admitted"};
static_assert(std::size(kTierLabels) == cachestore::kNumCacheTiers &&
              std::size(kRemovalLabels) == cachestore::kNumRemovals);

void AddTo(MetricFamily* family, double value, std::vector<ClientMetric::Label> labels) {
  ClientMetric& metric = family->metric.emplace_back();
  metric.label = std::move(labels);
  (family->type == kCounter ? metric.counter.value : metric.gauge.value) = value;
}

template <typename Stats, size_t kCount>
void Append(const Series<Stats> (&table)[kCount], const Stats& stats,
            std::vector<MetricFamily>* families) {
  for (const Series<Stats>& series : table) {
    if (families->empty() || families->back().name != series.name) {
      families->push_back({.name = series.name, .help = series.help, .type = series.type});
    }
    std::vector<ClientMetric::Label> labels;
    if (series.label != nullptr) labels.push_back({series.label, series.label_value});
    AddTo(&families->back(), static_cast<double>(stats.*series.value) * series.unit,
          std::move(labels));
  }
}

void AppendGauge(const char* name, const char* help, double value,
                 std::vector<MetricFamily>* families) {
  families->push_back({.name = name, .help = help, .type = kGauge});
  AddTo(&families->back(), value, {});
}

void AppendRemovals(const StoreStats& stats, std::vector<MetricFamily>* families) {
  families->push_back({.name = "reprise_removed_blocks_total",
                       .help = "Blocks that left the tier, by why.",
                       .type = kCounter});
  for (size_t reason = 0; reason < std::size(kRemovalLabels); ++reason) {
    for (size_t tier = 0; tier < std::size(kTierLabels); ++tier) {
      AddTo(&families->back(), static_cast<double>(stats.removed_blocks[reason][tier]),
            {{"reason", kRemovalLabels[reason]}, {"tier", kTierLabels[tier]}});
    }
  }
}

void AddTo(MetricFamily* family, const cachestore::LatencyHistogram& histogram,
           ClientMetric::Label label) {
  ClientMetric& metric = family->metric.emplace_back();
  metric.label = {std::move(label)};
  metric.histogram.sample_count = static_cast<uint64_t>(histogram.count());
  metric.histogram.sample_sum = histogram.sum_seconds();
  uint64_t below = 0;
  for (size_t i = 0; i < histogram.counts.size(); ++i) {
    below += static_cast<uint64_t>(histogram.counts[i]);
    const double bound = i < cachestore::LatencyHistogram::kNumBounds
                             ? cachestore::LatencyHistogram::BoundSeconds(i)
                             : std::numeric_limits<double>::infinity();
    metric.histogram.bucket.push_back({.cumulative_count = below, .upper_bound = bound});
  }
}

// Of each tier for which the tenant has a quota.
void AppendTenants(const std::vector<TenantBytes>& tenants, std::vector<MetricFamily>* families) {
  MetricFamily quotas = {.name = "reprise_tenant_quota_bytes",
                         .help = "What the tenant may take of the tier.",
                         .type = kGauge};
  MetricFamily used = {.name = "reprise_tenant_used_bytes",
                       .help = "What the tenant, which has a quota, takes of the tier.",
                       .type = kGauge};
  const auto add = [&](const std::string& tenant, const char* tier, int64_t quota, int64_t bytes) {
    if (quota == 0) return;
    AddTo(&quotas, static_cast<double>(quota), {{"tenant", tenant}, {"tier", tier}});
    AddTo(&used, static_cast<double>(bytes), {{"tenant", tenant}, {"tier", tier}});
  };
  for (const TenantBytes& tenant : tenants) {
    add(tenant.tenant, "ram", tenant.quota.ram_bytes, tenant.used.ram_bytes);
    add(tenant.tenant, "disk", tenant.quota.disk_bytes, tenant.used.disk_bytes);
  }
  families->push_back(std::move(quotas));
  families->push_back(std::move(used));
}

// What other sizes of the tiers would have made of the lookups of `all`, told as `prefix`. Each of
// them has its name as a label, but for one without: that is all tenants.
void AppendWhatIf(const std::string& prefix,
                  const std::vector<const cachestore::TenantWhatIf*>& all,
                  int64_t tokens_per_second, std::vector<MetricFamily>* families) {
  MetricFamily ratios = {.name = absl::StrCat(prefix, "_hit_ratio"),
                         .help =
                             "Predicted share of looked-up tokens that tiers of so many times "
                             "their size would have; of disk: RAM and disk.",
                         .type = kGauge};
  MetricFamily tokens = {.name = absl::StrCat(prefix, "_saved_tokens"),
                         .help = "Prompt tokens that would not have been computed then.",
                         .type = kGauge};
  MetricFamily seconds = {.name = absl::StrCat(prefix, "_saved_seconds"),
                          .help = "How long these take at the rate of the last large steps.",
                          .type = kGauge};
  const auto add = [&](const cachestore::TenantWhatIf& what_if, const char* tier,
                       const std::vector<cachestore::WhatIfPoint>& points) {
    for (const cachestore::WhatIfPoint& point : points) {
      std::vector<ClientMetric::Label> labels = {{"tier", tier},
                                                 {"factor", absl::StrCat(point.factor)}};
      if (!what_if.tenant.empty()) labels.insert(labels.begin(), {"tenant", what_if.tenant});
      const double looked_up = what_if.looked_up_tokens;
      AddTo(&ratios, looked_up > 0 ? point.hit_tokens / looked_up : 0, labels);
      AddTo(&tokens, point.hit_tokens, labels);
      if (tokens_per_second == 0) continue;
      AddTo(&seconds, point.hit_tokens / static_cast<double>(tokens_per_second), labels);
    }
  };
  for (const cachestore::TenantWhatIf* what_if : all) {
    add(*what_if, "ram", what_if->ram);
    add(*what_if, "disk", what_if->disk);
  }
  for (MetricFamily* family : {&ratios, &tokens, &seconds}) {
    families->push_back(std::move(*family));
  }
}

// Of all tenants together, and of each that has a quota: of the others WhatIf tells.
void AppendWhatIfs(const MetricsInput& input, std::vector<MetricFamily>* families) {
  const int64_t rate = input.engine.prefill_tokens_per_second;
  AppendWhatIf("reprise_whatif", {&input.what_if.all}, rate, families);
  std::set<absl::string_view> names;
  for (const TenantBytes& tenant : input.tenants) names.insert(tenant.tenant);
  std::vector<const cachestore::TenantWhatIf*> tenants;
  for (const cachestore::TenantWhatIf& tenant : input.what_if.tenants) {
    if (names.contains(tenant.tenant)) tenants.push_back(&tenant);
  }
  AppendWhatIf("reprise_tenant_whatif", tenants, rate, families);
}

void AppendTransferTimes(const StoreStats& stats, std::vector<MetricFamily>* families) {
  families->push_back(
      {.name = "reprise_transfer_seconds", .help = kTransferTime, .type = MetricType::Histogram});
  AddTo(&families->back(), stats.load_from_disk, {"transfer", "disk_to_ram"});
  AddTo(&families->back(), stats.store_to_disk, {"transfer", "ram_to_disk"});
  AddTo(&families->back(), stats.load_to_gpu, {"transfer", "ram_to_gpu"});
  AddTo(&families->back(), stats.store_from_gpu, {"transfer", "gpu_to_ram"});
}

void AppendCallTimes(const CallTimes::ByRpc& calls, std::vector<MetricFamily>* families) {
  families->push_back({.name = "reprise_first_answer_seconds",
                       .help = "How long calls that did not fail took until their first answer.",
                       .type = MetricType::Histogram});
  for (const auto& [rpc, times] : calls) AddTo(&families->back(), times, {"rpc", rpc});
}

}  // namespace

std::string MetricsText(const MetricsInput& input) {
  std::vector<MetricFamily> families;
  AppendGauge("reprise_ready", "1: recovered, loaded and not draining.", input.ready ? 1 : 0,
              &families);
  AppendGauge("reprise_http_connections", "Open connections of HTTP.",
              static_cast<double>(input.http_connections), &families);
  families.push_back({.name = "reprise_tls_certificate_expires_seconds",
                      .help = "Until the first of the server's certificates ends; below 0: it has.",
                      .type = kGauge});
  if (input.certificate_ends != absl::InfiniteFuture()) {
    AddTo(&families.back(), absl::ToDoubleSeconds(input.certificate_ends - absl::Now()), {});
  }
  AppendCallTimes(input.calls, &families);
  Append(kStoreSeries, input.store, &families);
  AppendRemovals(input.store, &families);
  AppendTransferTimes(input.store, &families);
  Append(kEngineSeries, input.engine, &families);
  Append(kSessionSeries, input.sessions, &families);
  Append(kRecordingSeries, input.recordings, &families);
  AppendTenants(input.tenants, &families);
  AppendWhatIfs(input, &families);
  std::ostringstream out;
  prometheus::TextSerializer().Serialize(out, families);
  return out.str();
}

}  // namespace reprise::api
