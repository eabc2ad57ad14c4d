#include "bench/hitrate_rows.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "bench/hitrate/policies.h"
#include "bench/hitrate/score.h"
#include "bench/machine.h"

namespace reprise::bench {
namespace {

constexpr double kLeastGapClosed = 0.40;
constexpr double kLeastPoints = -0.1;
constexpr double kLeastLruMemory = 1.5;
// Up to this capacity LRU's memory for the same hits is looked at.
constexpr double kMemoryPercent = 5;
constexpr double kLeastBeyondInfinite = 0.385;
constexpr double kMostNsPerTouch = 100;
constexpr double kLeastGapClosedByHints = 0.65;
constexpr double kMostUsPerRequest = 15;
constexpr double kLeastHitsKept = 0.95;
constexpr double kMostWritesKept = 0.60;
constexpr double kMostWhatIfPoints = 2;

class Rows {
 public:
  Rows(const std::vector<Sweep>& sweeps, bool with_goals)
      : sweeps_(sweeps),
        with_goals_(with_goals),
        traces_(absl::StrJoin(sweeps, " ", [](std::string* out, const Sweep& sweep) {
          absl::StrAppend(out, sweep.trace);
        })) {}

  void AddPolicy(const std::string& policy) {
    const bool is_default = policy == kDefaultPolicy;
    const std::string suffix = is_default ? "" : absl::StrCat(".", policy);
    if (const std::optional<double> closed = GapClosed(sweeps_, policy)) {
      Result& row = Add("hitrate.gap_closed" + suffix, "of LRU to optimum", *closed, policy);
      row.limit = 1;
      if (is_default) {
        row.peer = BestOfOthers();
        SetGoal(row, kLeastGapClosed);
      }
    }
    if (const std::optional<WorstCell> worst = WorstBesideLru(sweeps_, policy)) {
      Result& row = Add("hitrate.never_worse" + suffix, "points above LRU", worst->points, policy);
      row.context["where"] = absl::StrFormat("%s at %g %%", worst->trace, worst->percent);
      if (is_default) SetGoal(row, kLeastPoints);
    }
    for (const Sweep& sweep : sweeps_) {
      const std::optional<double> memory = LeastLruMemory(sweep, policy, kMemoryPercent);
      if (!is_default || !sweep.is_chat || !memory.has_value()) continue;
      Result& row = Add("hitrate.lru_memory_for_same_hits", "x, the least", *memory, policy);
      row.context["traces"] = sweep.trace;
      SetGoal(row, kLeastLruMemory);
    }
  }

  // What it comes to where callers tell how answers end.
  void AddHints() {
    for (const Sweep& sweep : sweeps_) {
      const std::optional<double> closed =
          sweep.is_agent ? GapClosed({sweep}, kPolicyWithHints) : std::nullopt;
      if (!closed.has_value()) continue;
      Result& row = Add("hitrate.gap_closed_hints", "of LRU to optimum", *closed, kPolicyWithHints);
      row.context["traces"] = sweep.trace;
      SetGoal(row, kLeastGapClosedByHints);
    }
  }

  // What the default policy takes of its replays at the capacities that are pooled.
  void AddCosts() {
    for (const Sweep& sweep : sweeps_) {
      const ReplayCost cost = CostOf(sweep, kDefaultPolicy);
      if (cost.blocks == 0 || (!sweep.is_agent && !sweep.is_chat)) continue;
      const auto requests = static_cast<double>(cost.requests);
      const auto blocks = static_cast<double>(cost.blocks);
      const double scale = sweep.is_agent ? 1e9 / blocks : 1e6 / requests;
      Result& row = Add(sweep.is_agent ? "policy.ns_per_block_touch" : "policy.us_per_request",
                        sweep.is_agent ? "ns" : "us", scale * (cost.seconds - cost.index_seconds),
                        kDefaultPolicy);
      row.context["traces"] = sweep.trace;
      row.context["with_index"] = absl::StrCat(scale * cost.seconds);
      if (!with_goals_) continue;
      row.goal = {.bound = Goal::Bound::kAtMost,
                  .value = sweep.is_agent ? kMostNsPerTouch : kMostUsPerRequest};
    }
  }

  // What an infinite cache has of the tokens of chats if it keeps more than full blocks of prompts.
  void AddBeyondInfinite() {
    for (const Sweep& sweep : sweeps_) {
      if (!sweep.is_chat) continue;
      Result& row = Add("hitrate.beyond_infinite", "of tokens",
                        sweep.infinite_of_tokens.token_ratio(), "an infinite cache of tokens");
      row.context["traces"] = sweep.trace;
      row.context["infinite_cache_of_blocks"] =
          absl::StrFormat("%.4f", sweep.infinite.token_ratio());
      SetGoal(row, kLeastBeyondInfinite);
    }
  }

  std::vector<Result> Take() && { return std::move(rows_); }

 private:
  // The most of the gap that a policy of the sweeps closes that is not the store's.
  std::optional<double> BestOfOthers() const {
    std::optional<double> best;
    for (const ReplayPolicy& policy : ReplayPolicies()) {
      if (policy.make_eviction != nullptr) continue;
      const std::optional<double> closed = GapClosed(sweeps_, policy.name);
      if (closed.has_value()) best = std::max(best.value_or(*closed), *closed);
    }
    return best;
  }
  Result& Add(const std::string& metric, const std::string& unit, double ours,
              const std::string& policy) {
    rows_.push_back(
        {.metric = metric,
         .unit = unit,
         .ours = ours,
         .context = {{"policy", policy}, {"traces", traces_}, {"machine", MachineInWords()}}});
    return rows_.back();
  }
  void SetGoal(Result& row, double least) const {
    if (with_goals_) row.goal = {.bound = Goal::Bound::kAtLeast, .value = least};
  }

  const std::vector<Sweep>& sweeps_;
  const bool with_goals_;
  const std::string traces_;
  std::vector<Result> rows_;
};

// What `line` has of `all`'s disk hits and disk writes.
void AddFrontier(const TierSweep& sweep, const TierSweep::Line& line, const TierSweep::Line& all,
                 bool with_goals, std::vector<Result>& rows) {
  const auto add = [&](const char* metric, int64_t ours, int64_t of_all, const Goal& goal) {
    if (of_all == 0) return;
    rows.push_back({.metric = absl::StrCat(metric, ".", line.admission),
                    .unit = "of those of write-on-evict",
                    .ours = static_cast<double>(ours) / static_cast<double>(of_all),
                    .context = {{"policy", line.policy},
                                {"traces", sweep.trace},
                                {"ram_blocks", absl::StrCat(sweep.capacities.ram)},
                                {"disk_blocks", absl::StrCat(sweep.capacities.disk)},
                                {"machine", MachineInWords()}}});
    if (with_goals && line.admission == kLearnedAdmission) rows.back().goal = goal;
  };
  add("hitrate.disk_frontier_hits", line.tiers.disk_hits, all.tiers.disk_hits,
      {.bound = Goal::Bound::kAtLeast, .value = kLeastHitsKept});
  add("hitrate.disk_frontier_writes", line.tiers.disk_writes, all.tiers.disk_writes,
      {.bound = Goal::Bound::kAtMost, .value = kMostWritesKept});
}

}  // namespace

std::vector<Result> DiskFrontierRows(const std::vector<TierSweep>& sweeps, bool with_goals) {
  std::vector<Result> rows;
  for (const TierSweep& sweep : sweeps) {
    const TierSweep::Line* all = nullptr;
    for (const TierSweep::Line& line : sweep.lines) {
      if (line.policy != kDefaultPolicy || !sweep.is_chat) continue;
      if (line.admission == kAdmitEverything) all = &line;  // comes first
      if (all != nullptr) AddFrontier(sweep, line, *all, with_goals, rows);
    }
  }
  return rows;
}

std::vector<Result> WhatIfRows(const std::vector<WhatIfSweep>& sweeps, bool with_goals) {
  std::vector<Result> rows;
  for (const WhatIfSweep& sweep : sweeps) {
    for (const WhatIfSweep::Line& line : sweep.lines) {
      Result& row = rows.emplace_back();
      row.metric = absl::StrCat("whatif.error.", line.policy, ".", line.tier);
      row.unit = "points, the most";
      row.ours = 100 * line.LargestError();
      row.context = {{"policy", line.policy},
                     {"traces", sweep.trace},
                     {"sampling_rate", absl::StrFormat("1/%.0f", 1 / line.sampling_rate)},
                     {"machine", MachineInWords()}};
      for (const WhatIfSweep::Point& point : line.points) {
        row.context[absl::StrFormat("at_%gx", point.factor)] = absl::StrFormat(
            "%.1f predicted, %.1f measured", 100 * point.predicted, 100 * point.measured);
      }
      if (!with_goals) continue;
      row.goal = {.bound = Goal::Bound::kAtMost, .value = kMostWhatIfPoints};
    }
  }
  return rows;
}

std::vector<Result> HitrateRows(const std::vector<Sweep>& sweeps, bool with_goals) {
  Rows rows(sweeps, with_goals);
  if (!sweeps.empty()) {
    for (const Sweep::Line& line : sweeps.front().lines) {
      if (line.policy != "lru" || line.policy == kDefaultPolicy) rows.AddPolicy(line.policy);
    }
  }
  rows.AddHints();
  rows.AddCosts();
  rows.AddBeyondInfinite();
  return std::move(rows).Take();
}

}  // namespace reprise::bench
