#include "bench/hitrate_policy_rows.h"

#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "bench/hitrate/eviction_bed.h"
#include "bench/hitrate/sweep.h"
#include "bench/hitrate/tier_cache.h"
#include "bench/machine.h"
#include "bench/progress.h"
#include "cachestore/policy/admission_policy.h"
#include "cachestore/policy/reuse_policy.h"

namespace reprise::bench {
namespace {

using cachestore::ReusePolicy;
using cachestore::Trace;

constexpr double kMostBytesPerBlock = 48;
constexpr double kMostEvictNs = 2000;
constexpr double kMostGrowth = 2;

// What is in use of malloc's own memory, and all that is mapped: their sum falls by what is freed,
// whether malloc unmaps it or keeps it.
int64_t HeapAndMappedBytes() {
  int64_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  return static_cast<int64_t>(mallinfo2().uordblks) + pages * sysconf(_SC_PAGESIZE);
}

struct Weight {
  int64_t bytes = 0;
  int64_t blocks = 0;
};

// Looks at memory after what is derived from it is gone.
class WeighedAfterwards {
 public:
  explicit WeighedAfterwards(Weight* weight) : weight_(weight) {}
  ~WeighedAfterwards() { weight_->bytes -= HeapAndMappedBytes(); }

 protected:
  Weight* const weight_;
};

// Tells, when it is destroyed, what it had taken of memory, and for how many blocks.
class WeighedPolicy : private WeighedAfterwards, public ReusePolicy {
 public:
  explicit WeighedPolicy(Weight* weight) : WeighedAfterwards(weight) {}
  ~WeighedPolicy() override {
    weight_->bytes = static_cast<int64_t>(sizeof(WeighedPolicy)) + HeapAndMappedBytes();
  }
  void OnInsert(cachestore::BlockId id, cachestore::BlockId parent,
                const cachestore::BlockKey& key) override {
    ++weight_->blocks;
    ReusePolicy::OnInsert(id, parent, key);
  }
  void OnErase(cachestore::BlockId id, const cachestore::BlockKey& key) override {
    --weight_->blocks;
    ReusePolicy::OnErase(id, key);
  }
};

// After the trace has gone through RAM and a disk for half of its blocks each: every block in RAM
// is a candidate, and as many ghosts are remembered as may be.
Weight WeightOfPolicy(const Trace& trace) {
  Weight weight;
  const auto half = static_cast<int64_t>(trace.num_blocks() / 2 + 1);
  const auto make = [&] {
    auto policy = std::make_unique<WeighedPolicy>(&weight);
    policy->Reserve(trace.num_blocks() + 1);  // as the store does; the root has an id too
    return policy;
  };
  {
    TierCache cache(make, trace, std::make_unique<cachestore::AdmitAll>(),
                    {.ram = half, .disk = half});
    Replay(trace, cache);
  }
  return weight;
}

// Conversations of 32 blocks, every block a candidate of one tier, their ends of another one too,
// with as many ghosts as may be.
Weight WeightOfPolicy(int64_t num_blocks) {
  Weight weight;
  {
    EvictionBed bed([&] { return std::make_unique<WeighedPolicy>(&weight); }, num_blocks);
    bed.Serve(num_blocks / 4);
  }
  return weight;
}

Result BytesRow(const std::string& name, const std::string& of, const Weight& weight) {
  return {.metric = name,
          .unit = "bytes",
          .ours = static_cast<double>(weight.bytes) / static_cast<double>(weight.blocks),
          .context = {{"of", of},
                      {"blocks", absl::StrCat(weight.blocks)},
                      {"figure", "what the heap and the process's mappings lose with the policy"},
                      {"machine", MachineInWords()}}};
}

double NsPerVictim(int64_t num_blocks, int64_t num_victims) {
  EvictionBed bed([] { return std::make_unique<ReusePolicy>(); }, num_blocks);
  bed.Serve(num_blocks / 10);  // until places are as mixed as they get
  return 1e9 * bed.Serve(num_victims);
}

}  // namespace

std::vector<Result> PolicyCostRows(const std::vector<Trace>& traces, Extent extent,
                                   bool with_goals) {
  std::vector<Result> rows;
  const int64_t least = ByExtent<int64_t>(extent, 1000, 100'000);
  const std::vector<int64_t> sizes = {least, 10 * least, 100 * least};
  const auto num_agents = std::count_if(traces.begin(), traces.end(), IsAgent);
  Progress progress("policy costs", 1 + num_agents + static_cast<int64_t>(sizes.size()));
  int64_t done = 0;
  progress.Update(done++, "memory of a policy");
  rows.push_back(
      BytesRow("policy.bytes_per_block", "conversations of 32 blocks", WeightOfPolicy(10 * least)));
  if (with_goals) {
    rows.back().goal = {.bound = Goal::Bound::kAtMost, .value = kMostBytesPerBlock};
  }
  for (const Trace& trace : traces) {
    if (!IsAgent(trace)) continue;
    progress.Update(done++, absl::StrCat("memory of a policy, ", trace.name));
    rows.push_back(BytesRow(absl::StrCat("policy.bytes_per_block.", trace.name), trace.name,
                            WeightOfPolicy(trace)));
  }
  const int64_t num_victims = ByExtent<int64_t>(extent, 1000, 500'000);
  std::map<std::string, std::string> context = {
      {"figure", "CPU time to ask for the block that goes first and to take it away; no index"},
      {"machine", MachineInWords()}};
  std::vector<double> ns;
  for (const int64_t num_blocks : sizes) {
    progress.Update(done++, absl::StrCat("evictions among ", num_blocks, " blocks"));
    ns.push_back(NsPerVictim(num_blocks, num_victims));
    context[absl::StrCat("ns_with_", num_blocks, "_blocks")] = absl::StrCat(ns.back());
  }
  rows.push_back({.metric = "policy.evict_ns",
                  .unit = "ns, the most of all sizes",
                  .ours = *std::max_element(ns.begin(), ns.end()),
                  .context = context});
  rows.push_back({.metric = "policy.evict_growth",
                  .unit = absl::StrCat("x, from ", least, " to ", 100 * least, " blocks"),
                  .ours = ns.back() / ns.front(),
                  .context = context});
  if (with_goals) {
    rows[rows.size() - 2].goal = {.bound = Goal::Bound::kAtMost, .value = kMostEvictNs};
    rows.back().goal = {.bound = Goal::Bound::kAtMost, .value = kMostGrowth};
  }
  return rows;
}

}  // namespace reprise::bench
