#include "cachestore/store/what_if_curves.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "cachestore/policy/sampled_lru_curve.h"

namespace reprise::cachestore {
namespace {

constexpr double kFactors[] = {0.5, 1, 2, 4};
constexpr absl::Duration kHalfLife = absl::Hours(1);
constexpr absl::Duration kAgingInterval = absl::Minutes(1);

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

WhatIfCurves::WhatIfCurves(int64_t ram_bytes)
    : common_samples_(Within(ram_bytes, 0.005, SampledLruCurve::kSampleBytes, 256, kMostSamples)),
      share_samples_(
          Within(ram_bytes, 0.0005, SampledLruCurve::kSampleBytes, 64, kMostShareSamples)),
      max_tenants_(Within(ram_bytes, 0.002, SampledLruCurve::kGroupBytes, 4, kMostTenants)) {}

MissRatioCurve& WhatIfCurves::CurveOf(uint32_t share) {
  if (share >= curves_.size()) curves_.resize(size_t{share} + 1);
  if (curves_[share] == nullptr) {
    curves_[share] =
        std::make_unique<SampledLruCurve>(share == 0 ? common_samples_ : share_samples_);
  }
  return *curves_[share];
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

void WhatIfCurves::OnLookup(const WatchedRun& run, absl::Time now) {
  Age(now);
  const BlockRun blocks = RunOf(run);
  tenants_[blocks.group].share = run.share;
  if (run.disk_bytes > 0) {
    ram_per_disk_byte_ = static_cast<double>(run.slot_bytes) / static_cast<double>(run.disk_bytes);
  }
  CurveOf(run.share).OnLookup(blocks);
}

void WhatIfCurves::OnStore(const WatchedRun& run) { CurveOf(run.share).OnStore(RunOf(run)); }

void WhatIfCurves::Age(absl::Time now) {
  if (now - aged_ < kAgingInterval) return;
  if (aged_ != absl::InfinitePast()) {
    const double factor = std::exp2(-absl::FDivDuration(now - aged_, kHalfLife));
    for (const auto& curve : curves_) {
      if (curve != nullptr) curve->Age(factor);
    }
  }
  aged_ = now;
}

WhatIfReport WhatIfCurves::Report(absl::Span<const ShareSizes> sizes) const {
  WhatIfReport report;
  const auto begin = [&](TenantWhatIf& of, const ShareSizes& size) {
    for (const double factor : kFactors) {
      const double ram = factor * static_cast<double>(size.ram_bytes);
      of.ram.push_back({.factor = factor, .bytes = static_cast<int64_t>(ram)});
      if (size.disk_bytes == 0) continue;
      const double disk = factor * static_cast<double>(size.disk_bytes);
      of.disk.push_back({.factor = factor, .bytes = static_cast<int64_t>(ram + disk)});
    }
  };
  begin(report.all, sizes[0]);
  for (uint32_t number = 0; number < tenants_.size(); ++number) {
    const uint32_t share = tenants_[number].share;
    if (share >= curves_.size() || curves_[share] == nullptr || share >= sizes.size()) continue;
    const MissRatioCurve& curve = *curves_[share];
    TenantWhatIf& tenant = report.tenants.emplace_back();
    tenant.tenant = tenants_[number].name;
    tenant.looked_up_tokens = curve.LookedUpTokens(number);
    const ShareSizes& size = sizes[share];
    begin(tenant, size);
    const auto gpu = static_cast<double>(size.gpu_bytes);
    for (size_t i = 0; i < std::size(kFactors); ++i) {
      const double ram = gpu + kFactors[i] * static_cast<double>(size.ram_bytes);
      tenant.ram[i].hit_tokens = curve.HitTokens(number, ram);
      report.all.ram[i].hit_tokens += tenant.ram[i].hit_tokens;
      if (size.disk_bytes == 0) continue;
      const double disk = kFactors[i] * static_cast<double>(size.disk_bytes) * ram_per_disk_byte_;
      tenant.disk[i].hit_tokens = curve.HitTokens(number, ram + disk);
      report.all.disk[i].hit_tokens += tenant.disk[i].hit_tokens;
    }
    report.all.looked_up_tokens += tenant.looked_up_tokens;
  }
  if (!curves_.empty() && curves_[0] != nullptr) {
    report.sampling_rate = curves_[0]->sampling_rate();
  }
  return report;
}

size_t WhatIfCurves::memory_bytes() const {
  size_t bytes = tenant_of_.capacity() * sizeof(uint32_t);
  for (const auto& curve : curves_) bytes += curve == nullptr ? 0 : curve->memory_bytes();
  return bytes;
}

}  // namespace reprise::cachestore
