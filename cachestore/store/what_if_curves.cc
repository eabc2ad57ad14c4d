#include "cachestore/store/what_if_curves.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "cachestore/policy/sampled_curve.h"

namespace reprise::cachestore {
namespace {

constexpr double kFactors[] = {0.5, 1, 2, 4};
constexpr absl::Duration kHalfLife = absl::Hours(1);
constexpr absl::Duration kAgingInterval = absl::Minutes(1);
// Of one curve. Between two of any curves 200 times as long passes as the last one took, at 0.2 us
// a sample: the lock is held for that for a two-hundredth of the time.
constexpr absl::Duration kOrderingInterval = absl::Milliseconds(500);
constexpr absl::Duration kPausePerSample = absl::Microseconds(40);

constexpr uint32_t kUnknown = 0xffffffff;
constexpr absl::string_view kOthers = "(others)";

constexpr size_t kMostSamples = 16384;
constexpr size_t kMostShareSamples = 2048;
constexpr size_t kMostTenants = 256;

// As many as take this part of `bytes`, if they take `each`.
size_t Within(int64_t bytes, double part, size_t each, size_t least, size_t most) {
  const double room = static_cast<double>(bytes) * part / static_cast<double>(each);
  return static_cast<size_t>(
      std::clamp(room, static_cast<double>(least), static_cast<double>(most)));
}

}  // namespace

WhatIfCurves::WhatIfCurves(int64_t ram_bytes, PlaceInOrder place_of)
    : common_samples_(Within(ram_bytes, 0.005, SampledCurve::kSampleBytes, 256, kMostSamples)),
      share_samples_(Within(ram_bytes, 0.0005, SampledCurve::kSampleBytes, 64, kMostShareSamples)),
      max_tenants_(Within(ram_bytes, 0.002, SampledCurve::kGroupBytes, 4, kMostTenants)),
      place_of_(std::move(place_of)) {}

WhatIfCurves::Curve& WhatIfCurves::CurveOf(uint32_t share) {
  if (share >= curves_.size()) curves_.resize(size_t{share} + 1);
  if (curves_[share].curve == nullptr) {
    curves_[share].curve =
        std::make_unique<SampledCurve>(share == 0 ? common_samples_ : share_samples_, place_of_);
  }
  return curves_[share];
}

uint32_t WhatIfCurves::TenantOf(const WatchedRun& run) {
  if (run.namespace_id >= tenant_of_.size()) {
    tenant_of_.resize(size_t{run.namespace_id} + 1, kUnknown);
  }
  uint32_t& number = tenant_of_[run.namespace_id];
  if (number == kUnknown) {
    const auto known = numbers_.find(run.tenant);
    const bool is_full = tenants_.size() + 1 >= max_tenants_;
    const std::string name(is_full && known == numbers_.end() ? kOthers : run.tenant);
    const auto [it, is_new] = numbers_.try_emplace(name, static_cast<uint32_t>(tenants_.size()));
    if (is_new) tenants_.push_back({.name = name, .share = run.share});
    number = it->second;
  }
  return number;
}

BlockRun WhatIfCurves::RunOf(const WatchedRun& run) {
  return {.keys = run.keys,
          .block_bytes = run.slot_bytes,
          .block_tokens = run.block_tokens,
          .group = TenantOf(run)};
}

void WhatIfCurves::OnLookup(const WatchedRun& run, const ShareSizes& sizes, absl::Time now) {
  Age(now);
  const BlockRun blocks = RunOf(run);
  tenants_[blocks.group].share = run.share;
  if (run.disk_bytes > 0) {
    ram_per_disk_byte_ = static_cast<double>(run.slot_bytes) / static_cast<double>(run.disk_bytes);
  }
  Curve& its = CurveOf(run.share);
  its.curve->Reach(RamAndDisk(kFactors[std::size(kFactors) - 1], sizes));
  OrderOne(now);
  its.curve->OnLookup(blocks);
  if (its.is_unordered) return;
  its.is_unordered = true;
  unordered_.push_back(run.share);
}

void WhatIfCurves::OrderOne(absl::Time now) {
  if (now < order_after_ || unordered_.empty()) return;
  Curve& its = curves_[unordered_.front()];
  if (now - its.ordered < kOrderingInterval) return;
  unordered_.pop_front();
  its.is_unordered = false;
  its.ordered = now;
  order_after_ = now + static_cast<int64_t>(its.curve->Order()) * kPausePerSample;
}

void WhatIfCurves::OnStore(const WatchedRun& run) { CurveOf(run.share).curve->OnStore(RunOf(run)); }

double WhatIfCurves::Ram(double factor, const ShareSizes& sizes) const {
  return static_cast<double>(sizes.gpu_bytes) + factor * static_cast<double>(sizes.ram_bytes);
}

double WhatIfCurves::RamAndDisk(double factor, const ShareSizes& sizes) const {
  const double disk = factor * static_cast<double>(sizes.disk_bytes) * ram_per_disk_byte_;
  const double ram = Ram(factor, sizes);
  return std::max(ram, sizes.only_in_ram * ram + disk);
}

void WhatIfCurves::Age(absl::Time now) {
  if (now - aged_ < kAgingInterval) return;
  if (aged_ != absl::InfinitePast()) {
    const double factor = std::exp2(-absl::FDivDuration(now - aged_, kHalfLife));
    for (const Curve& its : curves_) {
      if (its.curve != nullptr) its.curve->Age(factor);
    }
  }
  aged_ = now;
}

TenantWhatIf WhatIfCurves::Nothing(const ShareSizes& sizes) {
  TenantWhatIf nothing;
  for (const double factor : kFactors) {
    const double ram = factor * static_cast<double>(sizes.ram_bytes);
    nothing.ram.push_back({.factor = factor, .bytes = static_cast<int64_t>(ram)});
    if (sizes.disk_bytes == 0) continue;
    const double disk = factor * static_cast<double>(sizes.disk_bytes);
    nothing.disk.push_back({.factor = factor, .bytes = static_cast<int64_t>(ram + disk)});
  }
  return nothing;
}

TenantWhatIf WhatIfCurves::OfTenant(uint32_t number, const ShareSizes& sizes) const {
  // There is one: the tenant has looked something up in this share, or stored it.
  const MissRatioCurve& curve = *curves_[tenants_[number].share].curve;
  TenantWhatIf tenant = Nothing(sizes);
  tenant.tenant = tenants_[number].name;
  tenant.looked_up_tokens = curve.LookedUpTokens(number);
  for (WhatIfPoint& point : tenant.ram) {
    point.hit_tokens = curve.HitTokens(number, Ram(point.factor, sizes));
  }
  for (WhatIfPoint& point : tenant.disk) {
    point.hit_tokens = curve.HitTokens(number, RamAndDisk(point.factor, sizes));
  }
  return tenant;
}

double WhatIfCurves::sampling_rate() const {
  if (curves_.empty() || curves_[0].curve == nullptr) return 0;
  return curves_[0].curve->sampling_rate();
}

size_t WhatIfCurves::memory_bytes() const {
  size_t bytes = tenant_of_.capacity() * sizeof(uint32_t);
  for (const Curve& its : curves_) {
    bytes += sizeof(Curve) + (its.curve == nullptr ? 0 : its.curve->memory_bytes());
  }
  return bytes;
}

}  // namespace reprise::cachestore
