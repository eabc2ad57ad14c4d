#include "bench/hitrate/tier_sweep.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "cachestore/policy/admission_policy.h"

namespace reprise::bench {
namespace {

int64_t BlocksOf(double percent, size_t num_blocks) {
  if (percent == 0) return 0;
  return std::max<int64_t>(1, std::llround(percent / 100 * static_cast<double>(num_blocks)));
}

template <typename Policy>
AdmissionChoice Admission(const std::string& name) {
  return {name, [] { return std::make_unique<Policy>(); }};
}

}  // namespace

const std::vector<AdmissionChoice>& AdmissionChoices() {
  static const auto* const choices = new std::vector<AdmissionChoice>{
      Admission<cachestore::AdmitAll>(kAdmitEverything),
      Admission<cachestore::AdmitUseful>("useful"),
      Admission<cachestore::AdmitLikely>(kLearnedAdmission),
  };
  return *choices;
}

TierSweep RunTierSweep(const cachestore::Trace& trace, const std::vector<ReplayPolicy>& policies,
                       const TierPercents& percents, const SweepStep& step) {
  TierSweep sweep;
  sweep.trace = trace.name;
  sweep.is_chat = IsChat(trace);
  sweep.capacities = {.gpu = BlocksOf(percents.gpu, trace.num_blocks()),
                      .ram = BlocksOf(percents.ram, trace.num_blocks()),
                      .disk = BlocksOf(percents.disk, trace.num_blocks())};
  for (const ReplayPolicy& policy : policies) {
    if (policy.make_eviction == nullptr) continue;
    for (const AdmissionChoice& admission : AdmissionChoices()) {
      step(absl::StrCat(trace.name, ", tiers, ", policy.name, ", ", admission.name));
      TierCache cache(policy.make_eviction, trace, admission.make(), sweep.capacities);
      TierSweep::Line line = {.policy = policy.name, .admission = admission.name};
      line.tally = Replay(trace, cache);
      line.tiers = cache.tally();
      sweep.lines.push_back(std::move(line));
      if (sweep.capacities.disk == 0) break;  // nothing to admit
    }
  }
  return sweep;
}

}  // namespace reprise::bench
