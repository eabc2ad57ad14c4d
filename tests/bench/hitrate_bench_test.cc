#include "bench/hitrate_bench.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <sstream>
#include <string>

#include "bench/hitrate/policies.h"
#include "bench/hitrate/score.h"
#include "bench/hitrate_rows.h"
#include "tests/fakes/temp_folder.h"

namespace reprise::bench {
namespace {

using testing::HasSubstr;

std::string ReadFile(const std::string& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

size_t CountOf(const std::string& text, const std::string& word) {
  size_t count = 0;
  for (size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) ++count;
  return count;
}

// The suite runs to its end on traces that it makes up; what the figures are is not a test's
// business.
TEST(HitrateBenchTest, QuickFormReplaysEveryPolicy) {
  const TempFolder folder;
  HitrateBenchOptions options;
  options.extent = Extent::kQuick;
  options.cells_path = folder / "cells.csv";
  options.plot_path = folder / "plot.svg";
  ASSERT_TRUE(options.Validate().ok());
  std::ostringstream out;
  const auto rows = RunHitrateBench(options, out);
  ASSERT_TRUE(rows.ok()) << rows.status();
  std::set<std::string> metrics;
  for (const Result& row : *rows) {
    EXPECT_TRUE(metrics.insert(row.metric).second ||
                row.metric == "hitrate.lru_memory_for_same_hits" ||
                row.metric.starts_with("whatif.error."))  // one a trace
        << row.metric;
    EXPECT_FALSE(row.goal.has_value()) << row.metric;
  }
  for (const char* metric :
       {"hitrate.gap_closed", "hitrate.never_worse", "policy.ns_per_block_touch",
        "policy.us_per_request", "policy.bytes_per_block", "policy.evict_ns", "policy.evict_growth",
        "whatif.error.reuse.ram", "whatif.error.lru.disk", "hitrate.beyond_infinite",
        "hitrate.lru_memory_for_same_hits", "hitrate.gap_closed.arc"}) {
    EXPECT_TRUE(metrics.contains(metric)) << metric;
  }
  EXPECT_TRUE(metrics.contains("hitrate.disk_frontier_hits.useful"));
  EXPECT_THAT(out.str(), HasSubstr("generated_agent: block hits in % by tier"));
  const std::string cells = ReadFile(options.cells_path);
  const std::string plot = ReadFile(options.plot_path);
  for (const ReplayPolicy& policy : ReplayPolicies()) {
    EXPECT_THAT(out.str(), HasSubstr("\n" + policy.name + " "));
    EXPECT_EQ(CountOf(cells, "generated_chat," + policy.name + ","), 11u) << policy.name;
    EXPECT_THAT(plot, HasSubstr(">" + policy.name + "<"));
  }
  // Per trace a line for each policy and the optimum.
  EXPECT_EQ(CountOf(plot, "<polyline"), 2 * (ReplayPolicies().size() + 1));
}

TEST(HitrateBenchTest, WhatIsWrongWithFlagsIsNamed) {
  const auto message = [](HitrateBenchOptions options) {
    return std::string(options.Validate().message());
  };
  EXPECT_THAT(message({.policies = {"lru", "lry"}}), HasSubstr("'lry'"));
  EXPECT_THAT(message({.capacities = {"101"}}), HasSubstr("'101' is no percentage"));
  EXPECT_THAT(message({.capacities = {"0"}}), HasSubstr("0 % holds nothing"));
  EXPECT_THAT(message({.capacities = {"nan"}}), HasSubstr("'nan'"));
  EXPECT_THAT(message({.tiers = {"1", "5"}}), HasSubstr("--tiers takes three"));
  EXPECT_THAT(message({.tiers = {"0", "0", "5"}}), HasSubstr("RAM needs more"));
  EXPECT_THAT(message({.tiers = {"0", "5", "-1"}}), HasSubstr("'-1' is no percentage"));
  EXPECT_THAT(message({.generate = {"chat"}}), HasSubstr("--generate"));
  EXPECT_THAT(message({.generate = {"talk", "f"}}), HasSubstr("--generate"));
  std::ostringstream out;
  EXPECT_EQ(RunHitrateBench({.traces = {"/nowhere/t.ktr.gz"}}, out).status().code(),
            absl::StatusCode::kNotFound);
}

TEST(HitrateBenchTest, AGeneratedFileIsReplayed) {
  const TempFolder folder;
  const std::string path = folder / "agent.ktr.gz";
  std::ostringstream out;
  const auto none = RunHitrateBench({.generate = {"agent", path}, .num_requests = 200}, out);
  ASSERT_TRUE(none.ok() && none->empty()) << none.status();
  const auto rows =
      RunHitrateBench({.traces = {path}, .policies = {"lru"}, .figure = Figure::kCost}, out);
  ASSERT_TRUE(rows.ok()) << rows.status();
  // Somebody's own requests are not judged, and wait for nothing that is not of them.
  for (const Result& row : *rows) {
    EXPECT_FALSE(row.goal.has_value()) << row.metric;
    EXPECT_FALSE(row.metric.starts_with("policy.evict")) << row.metric;
  }
  EXPECT_THAT(out.str(), HasSubstr("agent: 200 requests"));
  EXPECT_THAT(out.str(), HasSubstr("cost bound"));
}

TEST(HitrateBenchTest, CapacitiesAreInBlocksToo) {
  const TempFolder folder;
  HitrateBenchOptions options;
  options.extent = Extent::kQuick;
  options.policies = {"lru"};
  options.blocks = {123, 7, 123};
  options.cells_path = folder / "blocks.csv";
  std::ostringstream out;
  ASSERT_TRUE(RunHitrateBench(options, out).ok());
  const std::string cells = ReadFile(options.cells_path);
  EXPECT_EQ(CountOf(cells, ",lru,"), 4u);
  EXPECT_EQ(CountOf(cells, ",7,"), 2 * 3u);
  EXPECT_EQ(CountOf(cells, ",123,"), 2 * 3u);
}

// Two capacities: LRU has 10 and 20 of 100 blocks, the optimum 30 and 20.
Sweep SweepOf(int64_t first, int64_t second) {
  Sweep sweep;
  sweep.trace = "t";
  sweep.is_chat = true;
  sweep.num_blocks = 1000;
  sweep.percents = {1, 20};
  sweep.capacities = {10, 200};
  sweep.lru_hits = {10, 20};
  sweep.optimum = {{.blocks = 100, .hit_blocks = 30}, {.blocks = 100, .hit_blocks = 20}};
  sweep.infinite = {.blocks = 100, .hit_blocks = 40};
  sweep.lines = {{"p",
                  {{.tally = {.blocks = 100, .hit_blocks = first}, .lru_memory = 2.5},
                   {.tally = {.blocks = 100, .hit_blocks = second}, .lru_memory = 0.5}}}};
  return sweep;
}

TEST(HitrateScoreTest, GapsAndLossesArePooled) {
  EXPECT_NEAR(*GapClosed({SweepOf(20, 20)}, "p"), 0.5, 1e-12);
  EXPECT_NEAR(*GapClosed({SweepOf(20, 20), SweepOf(30, 15)}, "p"), (10 + 15) / 40.0, 1e-12);
  EXPECT_FALSE(GapClosed({SweepOf(20, 20)}, "absent").has_value());
  const auto worst = WorstBesideLru({SweepOf(20, 20), SweepOf(30, 15)}, "p");
  EXPECT_NEAR(worst->points, -5, 1e-12);
  EXPECT_EQ(worst->percent, 20);
  EXPECT_NEAR(*GapClosedIn(SweepOf(25, 20), SweepOf(25, 20).lines[0].cells[0], 0), 0.75, 1e-12);
  EXPECT_EQ(LeastLruMemory(SweepOf(20, 20), "p", 5), 2.5);
  EXPECT_EQ(LeastLruMemory(SweepOf(20, 20), "p", 20), 0.5);
  // Hits that LRU never has count as if it needed all.
  Sweep beyond = SweepOf(40, 40);
  beyond.lines[0].cells[0].lru_memory.reset();
  EXPECT_EQ(LeastLruMemory(beyond, "p", 5), 100);
}

TEST(HitrateScoreTest, OnlyTheDefaultPolicyHasGoals) {
  Sweep sweep = SweepOf(20, 19);
  sweep.lines.push_back({kDefaultPolicy, sweep.lines[0].cells});
  sweep.lines.push_back({"arc", SweepOf(25, 20).lines[0].cells});
  // 2 us for 200 block touches in 4 requests, beside 1 us of the index.
  sweep.lines[1].cells[1].seconds = 2e-6;
  sweep.lines[1].cells[1].index_seconds = 1e-6;
  sweep.lines[1].cells[0].seconds = 1e-6;
  sweep.lines[1].cells[0].tally.requests = 4;
  std::map<std::string, Result> rows;
  for (const Result& row : HitrateRows({sweep}, true)) rows[row.metric] = row;
  EXPECT_FALSE(rows.at("hitrate.gap_closed.p").goal.has_value());
  EXPECT_EQ(rows.at("hitrate.gap_closed").Pass(), true);
  EXPECT_NEAR(*rows.at("hitrate.gap_closed").peer, 0.75, 1e-12);
  EXPECT_NEAR(rows.at("policy.us_per_request").ours, 0.5, 1e-12);
  EXPECT_EQ(rows.at("policy.us_per_request").Pass(), true);
  EXPECT_EQ(rows.at("hitrate.never_worse").Pass(), false);
  EXPECT_EQ(rows.at("hitrate.lru_memory_for_same_hits").Pass(), true);
  for (const Result& row : HitrateRows({sweep}, false)) EXPECT_FALSE(row.goal.has_value());
  sweep.is_chat = false;
  sweep.is_agent = true;
  for (const Result& row : HitrateRows({sweep}, true)) rows[row.metric] = row;
  EXPECT_NEAR(rows.at("policy.ns_per_block_touch").ours, 10, 1e-12);
}

TEST(HitrateScoreTest, TheDiskFrontierIsMeasuredByWritingEverything) {
  TierSweep sweep;
  sweep.trace = "t";
  sweep.is_chat = true;
  sweep.lines = {{"other", kAdmitEverything, {}, {.disk_hits = 1, .disk_writes = 1}},
                 {kDefaultPolicy, kAdmitEverything, {}, {.disk_hits = 100, .disk_writes = 1000}},
                 {kDefaultPolicy, kLearnedAdmission, {}, {.disk_hits = 96, .disk_writes = 500}}};
  std::map<std::string, Result> rows;
  for (const Result& row : DiskFrontierRows({sweep}, true)) rows[row.metric] = row;
  EXPECT_EQ(rows.size(), 4u);
  EXPECT_NEAR(rows.at("hitrate.disk_frontier_hits.likely").ours, 0.96, 1e-12);
  EXPECT_NEAR(rows.at("hitrate.disk_frontier_writes.likely").ours, 0.5, 1e-12);
  EXPECT_EQ(rows.at("hitrate.disk_frontier_writes.all").ours, 1);
  // The goals are of the one that asks what the order has learned.
  for (const auto& [metric, row] : rows) {
    EXPECT_EQ(row.goal.has_value(), metric.ends_with(kLearnedAdmission)) << metric;
  }
  sweep.is_chat = false;
  EXPECT_TRUE(DiskFrontierRows({sweep}, true).empty());
}

}  // namespace
}  // namespace reprise::bench
