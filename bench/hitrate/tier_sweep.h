// One trace replayed against GPU, RAM and disk, with each admission policy of the store.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "bench/hitrate/policies.h"
#include "bench/hitrate/sweep.h"
#include "bench/hitrate/tally.h"
#include "bench/hitrate/tier_cache.h"
#include "cachestore/policy/admission_policy.h"
#include "cachestore/trace/trace.h"

namespace reprise::bench {

// Sizes in percent of a trace's different blocks; 0: there is no such tier.
struct TierPercents {
  double gpu = 0;
  double ram = 5;
  double disk = 100;
};

// Writes all that RAM gives up: what the others are measured by.
inline constexpr char kAdmitEverything[] = "all";

// The one that asks what the order has learned: its figures have goals.
inline constexpr char kLearnedAdmission[] = "likely";

struct AdmissionChoice {
  std::string name;
  std::function<std::unique_ptr<cachestore::AdmissionPolicy>()> make;
};

// Those of cachestore/policy, kAdmitEverything first.
const std::vector<AdmissionChoice>& AdmissionChoices();

struct TierSweep {
  struct Line {
    std::string policy;
    std::string admission;
    Tally tally;
    TierTally tiers;
  };
  std::string trace;
  bool is_chat = false;
  TierCapacities capacities;
  std::vector<Line> lines;
};

// With each admission policy, and with those of `policies` that are the store's own. BLOCKS.
TierSweep RunTierSweep(const cachestore::Trace& trace, const std::vector<ReplayPolicy>& policies,
                       const TierPercents& percents, const SweepStep& step);

}  // namespace reprise::bench
