#include "engine/sched/load_choice.h"

#include <vector>

#include "absl/time/time.h"
#include "gtest/gtest.h"

namespace reprise::engine {
namespace {

using absl::Milliseconds;
using cachestore::LoadForecast;

// `ram` blocks in RAM, then `disk` blocks that are there after `start`, `per_block` each.
LoadForecast Forecast(int64_t ram, int64_t disk, absl::Duration start, absl::Duration per_block) {
  LoadForecast load;
  load.needs_load.assign(ram, false);
  load.needs_load.insert(load.needs_load.end(), disk, true);
  load.measured = true;
  load.median = {.start = start, .per_block = per_block};
  return load;
}

ComputeForecast Compute(absl::Duration per_block, absl::Duration queue = absl::ZeroDuration()) {
  return {.queue = queue, .per_block = per_block};
}

TEST(ChooseLoadTest, LoadsAllWhereLoadingIsFaster) {
  const LoadChoice choice =
      ChooseLoad(Forecast(3, 10, Milliseconds(5), Milliseconds(2)), 0, Compute(Milliseconds(10)));
  EXPECT_EQ(choice.num_blocks, 13);
  EXPECT_EQ(choice.passed_over_blocks, 0);
  EXPECT_EQ(choice.patience, Milliseconds(130));
}

TEST(ChooseLoadTest, KeepsToRamWhereComputingIsFaster) {
  const LoadChoice choice =
      ChooseLoad(Forecast(3, 10, Milliseconds(5), Milliseconds(12)), 0, Compute(Milliseconds(10)));
  EXPECT_EQ(choice.num_blocks, 3);
  EXPECT_EQ(choice.passed_over_blocks, 10);
}

TEST(ChooseLoadTest, ALatencyMustPayForItself) {
  const ComputeForecast compute = Compute(Milliseconds(10));
  const absl::Duration start = Milliseconds(35);
  EXPECT_EQ(ChooseLoad(Forecast(1, 4, start, Milliseconds(1)), 0, compute).num_blocks, 5);
  EXPECT_EQ(ChooseLoad(Forecast(1, 3, start, Milliseconds(1)), 0, compute).num_blocks, 1);
}

TEST(ChooseLoadTest, LoadsALeadingPartAsFarAsItIsThereBeforeThePromptsAhead) {
  // 100 ms are waited for anyway; four blocks are there by then.
  const LoadChoice choice = ChooseLoad(Forecast(2, 10, Milliseconds(10), Milliseconds(21)), 0,
                                       Compute(Milliseconds(10), Milliseconds(100)));
  EXPECT_EQ(choice.num_blocks, 2 + 4);
  EXPECT_EQ(choice.passed_over_blocks, 6);
  EXPECT_EQ(choice.patience, Milliseconds(160));
}

TEST(ChooseLoadTest, BlocksInRamBehindThoseToLoadAreWorthTheLoad) {
  LoadForecast load = Forecast(0, 1, Milliseconds(50), Milliseconds(1));
  const ComputeForecast compute = Compute(Milliseconds(10));
  EXPECT_EQ(ChooseLoad(load, 0, compute).num_blocks, 0);
  load.needs_load.insert(load.needs_load.end(), 9, false);
  EXPECT_EQ(ChooseLoad(load, 0, compute).num_blocks, 10);
  EXPECT_EQ(ChooseLoad(load, 6, compute).num_blocks, 4) << "from what the sequence has";
}

TEST(ChooseLoadTest, ATierThatHangsIsNotWaitedFor) {
  LoadForecast load = Forecast(2, 5, Milliseconds(0), Milliseconds(1));
  load.median.least = absl::Seconds(1);
  const LoadChoice choice = ChooseLoad(load, 0, Compute(Milliseconds(10)));
  EXPECT_EQ(choice.num_blocks, 2);
}

TEST(ChooseLoadTest, NothingMatchedIsNothingChosen) {
  const LoadChoice choice = ChooseLoad(LoadForecast{}, 0, Compute(Milliseconds(10)));
  EXPECT_EQ(choice.num_blocks, 0);
  EXPECT_EQ(choice.passed_over_blocks, 0);
  EXPECT_EQ(ChooseLoad(LoadForecast{}, 3, Compute(Milliseconds(10))).num_blocks, 0);
}

TEST(ChooseLoadTest, ByLayerWhenAloneAndTheTierIsKnown) {
  LoadForecast load = Forecast(3, 10, Milliseconds(5), Milliseconds(2));
  load.p90 = {.start = Milliseconds(6), .per_block = Milliseconds(3)};
  ComputeForecast compute = Compute(Milliseconds(10));
  EXPECT_EQ(ChooseLoad(load, 0, compute).order, cachestore::LoadOrder::kByBlock);
  compute.is_alone = true;
  const LoadChoice choice = ChooseLoad(load, 0, compute);
  EXPECT_EQ(choice.order, cachestore::LoadOrder::kByLayer);
  EXPECT_EQ(choice.num_blocks, 13);
  EXPECT_GE(choice.arrival_patience, Milliseconds(2 * 36));
  EXPECT_LT(choice.arrival_patience, Milliseconds(200));
  load.measured = false;
  EXPECT_EQ(ChooseLoad(load, 0, compute).order, cachestore::LoadOrder::kByBlock);
  load = Forecast(3, 0, Milliseconds(5), Milliseconds(2));
  EXPECT_EQ(ChooseLoad(load, 0, compute).order, cachestore::LoadOrder::kByBlock) << "all in RAM";
}

TEST(ChooseLoadTest, ByLayerWhenAloneAndTheHopToTheGpuIsKnown) {
  LoadForecast load = Forecast(13, 0, Milliseconds(5), Milliseconds(2));
  ComputeForecast compute = Compute(Milliseconds(10));
  compute.is_alone = true;
  load.needs_copy.assign(13, true);
  EXPECT_EQ(ChooseLoad(load, 0, compute).order, cachestore::LoadOrder::kByBlock);
  load.copy = {.measured = true, .median = {}, .p90 = {.per_block = Milliseconds(4)}};
  const LoadChoice choice = ChooseLoad(load, 3, compute);
  EXPECT_EQ(choice.order, cachestore::LoadOrder::kByLayer);
  EXPECT_EQ(choice.num_blocks, 10);
  EXPECT_GE(choice.arrival_patience, Milliseconds(2 * 40));
  EXPECT_LT(choice.arrival_patience, Milliseconds(2 * 40 + 50));
  load.needs_copy.assign(13, false);
  EXPECT_EQ(ChooseLoad(load, 3, compute).order, cachestore::LoadOrder::kByBlock) << "all there";
  // A load from disk has the hop behind it.
  load = Forecast(3, 10, Milliseconds(5), Milliseconds(2));
  load.needs_copy.assign(13, true);
  EXPECT_EQ(ChooseLoad(load, 0, compute).order, cachestore::LoadOrder::kByBlock);
  load.copy.measured = true;
  EXPECT_EQ(ChooseLoad(load, 0, compute).order, cachestore::LoadOrder::kByLayer);
}

TEST(ChooseLoadTest, ThereIsPatienceForAMoment) {
  const LoadChoice choice = ChooseLoad(Forecast(0, 1, absl::ZeroDuration(), absl::ZeroDuration()),
                                       0, Compute(absl::Microseconds(1)));
  EXPECT_EQ(choice.num_blocks, 1);
  EXPECT_GE(choice.patience, Milliseconds(10));
}

}  // namespace
}  // namespace reprise::engine
