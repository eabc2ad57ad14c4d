#include "bench/hitrate_bench.h"

#include <algorithm>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "bench/hitrate/cells_csv.h"
#include "bench/hitrate/generator.h"
#include "bench/hitrate/plot.h"
#include "bench/hitrate/policies.h"
#include "bench/hitrate/sweep.h"
#include "bench/hitrate/tier_sweep.h"
#include "bench/hitrate/trace_file.h"
#include "bench/hitrate/what_if_replay.h"
#include "bench/hitrate_policy_rows.h"
#include "bench/hitrate_rows.h"
#include "bench/hitrate_table.h"
#include "bench/progress.h"
#include "cachestore/base/status_macros.h"
#include "cachestore/trace/ktr_writer.h"

namespace reprise::bench {
namespace {

using cachestore::Trace;

// Those that are pooled, and on to where nothing is evicted any more.
const std::vector<double> kUsualPercents = {0.1, 0.2, 0.5, 1, 2, 3, 5, 10, 20, 50, 100};

absl::StatusOr<std::vector<ReplayPolicy>> ChosenPolicies(const std::vector<std::string>& names) {
  if (names.empty()) return ReplayPolicies();
  std::vector<ReplayPolicy> chosen;
  for (const std::string& name : names) {
    const auto it = std::find_if(ReplayPolicies().begin(), ReplayPolicies().end(),
                                 [&](const ReplayPolicy& policy) { return policy.name == name; });
    if (it == ReplayPolicies().end()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "--policies: no policy is called '", name, "'; there are ",
          absl::StrJoin(ReplayPolicies(), ", ", [](std::string* out, const ReplayPolicy& policy) {
            absl::StrAppend(out, policy.name);
          })));
    }
    chosen.push_back(*it);
  }
  return chosen;
}

absl::StatusOr<double> Percent(const std::string& flag, const std::string& word) {
  double percent = 0;
  if (!absl::SimpleAtod(word, &percent) || !(percent >= 0 && percent <= 100)) {
    return absl::InvalidArgumentError(
        absl::StrCat(flag, ": '", word, "' is no percentage from 0 to 100"));
  }
  return percent;
}

absl::StatusOr<std::vector<double>> ChosenPercents(const std::vector<std::string>& words) {
  std::vector<double> percents;
  for (const std::string& word : words) {
    ASSIGN_OR_RETURN(const double percent, Percent("--capacities", word));
    if (percent == 0) return absl::InvalidArgumentError("--capacities: 0 % holds nothing");
    percents.push_back(percent);
  }
  return percents;
}

absl::StatusOr<TierPercents> ChosenTiers(const std::vector<std::string>& words) {
  TierPercents tiers;
  if (words.empty()) return tiers;
  if (words.size() != 3) {
    return absl::InvalidArgumentError("--tiers takes three percentages: GPU, RAM, disk");
  }
  ASSIGN_OR_RETURN(tiers.gpu, Percent("--tiers", words[0]));
  ASSIGN_OR_RETURN(tiers.ram, Percent("--tiers", words[1]));
  ASSIGN_OR_RETURN(tiers.disk, Percent("--tiers", words[2]));
  if (tiers.ram == 0) return absl::InvalidArgumentError("--tiers: RAM needs more than 0 %");
  return tiers;
}

absl::StatusOr<std::vector<Trace>> ReadOrGenerate(const HitrateBenchOptions& options) {
  constexpr int64_t kQuickRequests = 500;
  std::vector<Trace> traces;
  if (options.traces.empty()) {
    const int64_t num_requests = ByExtent(options.extent, kQuickRequests, options.num_requests);
    for (const TraceKind kind : {TraceKind::kChat, TraceKind::kAgent}) {
      traces.push_back(GenerateTrace(kind, static_cast<uint64_t>(options.seed), num_requests));
    }
  }
  for (const std::string& path : options.traces) {
    ASSIGN_OR_RETURN(Trace trace, ReadTraceFile(path, options.log_block_tokens));
    traces.push_back(std::move(trace));
  }
  return traces;
}

absl::Status Generate(const HitrateBenchOptions& options, std::ostream& out) {
  const TraceKind kind = options.generate[0] == "chat" ? TraceKind::kChat : TraceKind::kAgent;
  const Trace trace =
      GenerateTrace(kind, static_cast<uint64_t>(options.seed), options.num_requests);
  RETURN_IF_ERROR(cachestore::WriteKtrTrace(trace, options.generate[1]));
  out << options.generate[1] << ": " << trace.requests.size() << " requests, " << trace.num_blocks()
      << " different blocks\n";
  return absl::OkStatus();
}

// The traces that the goals were set for (README.md).
bool IsPublic(const Trace& trace) {
  return trace.name == "claude_code_8h" || trace.name == "mooncake_conversation" ||
         trace.name == "toolmix_semi";
}

// Goals are for the public traces, at the capacities that are pooled.
bool HasGoals(const HitrateBenchOptions& options, const std::vector<Trace>& traces) {
  return options.extent == Extent::kFull && !options.traces.empty() && options.capacities.empty() &&
         options.blocks.empty() &&
         (options.goals || std::all_of(traces.begin(), traces.end(), IsPublic));
}

}  // namespace

absl::Status HitrateBenchOptions::Validate() const {
  if (!generate.empty() &&
      (generate.size() != 2 || (generate[0] != "chat" && generate[0] != "agent"))) {
    return absl::InvalidArgumentError("--generate takes chat or agent, and a file");
  }
  RETURN_IF_ERROR(ChosenPolicies(policies).status());
  RETURN_IF_ERROR(ChosenTiers(tiers).status());
  return ChosenPercents(capacities).status();
}

absl::StatusOr<std::vector<Result>> RunHitrateBench(const HitrateBenchOptions& options,
                                                    std::ostream& out) {
  if (!options.generate.empty()) {
    RETURN_IF_ERROR(Generate(options, out));
    return std::vector<Result>();
  }
  ASSIGN_OR_RETURN(const std::vector<ReplayPolicy> policies, ChosenPolicies(options.policies));
  ASSIGN_OR_RETURN(std::vector<double> percents, ChosenPercents(options.capacities));
  if (percents.empty() && options.blocks.empty()) percents = kUsualPercents;
  ASSIGN_OR_RETURN(const TierPercents tiers, ChosenTiers(options.tiers));
  ASSIGN_OR_RETURN(const std::vector<Trace> traces, ReadOrGenerate(options));
  const MakeRoom make_room = options.room == "before" ? MakeRoom::kBefore : MakeRoom::kAfter;
  std::vector<Sweep> sweeps;
  std::vector<TierSweep> tier_sweeps;
  std::vector<WhatIfSweep> what_if_sweeps;
  {
    size_t replays = 5 + policies.size() * (percents.size() + options.blocks.size());
    for (const ReplayPolicy& policy : policies) {
      if (policy.make_eviction != nullptr) replays += AdmissionChoices().size();
    }
    Progress progress("hitrate", static_cast<int64_t>(traces.size() * replays));
    int64_t done = 0;
    const SweepStep step = [&](const std::string& what) { progress.Update(done++, what); };
    for (const Trace& trace : traces) {
      sweeps.push_back(RunSweep(trace, policies,
                                PercentsOf(percents, options.blocks, trace.num_blocks()), make_room,
                                step));
      tier_sweeps.push_back(RunTierSweep(trace, policies, tiers, step));
      what_if_sweeps.push_back(RunWhatIf(trace, step));
    }
  }
  for (const Sweep& sweep : sweeps) PrintSweep(sweep, options.figure, out);
  for (const TierSweep& sweep : tier_sweeps) {
    if (!sweep.lines.empty()) PrintTiers(sweep, out);
  }
  if (!options.cells_path.empty()) {
    RETURN_IF_ERROR(WriteText(CellsCsv(sweeps), options.cells_path));
  }
  if (!options.plot_path.empty()) {
    RETURN_IF_ERROR(WriteText(PlotSvg(sweeps, options.figure), options.plot_path));
  }
  const bool has_goals = HasGoals(options, traces);
  std::vector<Result> rows = HitrateRows(sweeps, has_goals);
  for (Result& row : DiskFrontierRows(tier_sweeps, has_goals && options.tiers.empty())) {
    rows.push_back(std::move(row));
  }
  for (Result& row : WhatIfRows(what_if_sweeps, has_goals)) rows.push_back(std::move(row));
  // Minutes that tell nothing of a trace: not for somebody's own recording.
  if (has_goals || options.traces.empty()) {
    for (Result& row : PolicyCostRows(traces, options.extent, has_goals)) {
      rows.push_back(std::move(row));
    }
  }
  return rows;
}

}  // namespace reprise::bench
