#include "engine/backend/cuda/emulation/thread_block.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include "engine/backend/cuda/kernels/device_code.h"
#include "tests/engine/backend/cuda/schedules.h"

namespace reprise::engine::cuda {
namespace {

using emulation::Grid;
using emulation::Launch;
using emulation::Schedule;
using testing::AllOf;
using testing::Each;
using testing::HasSubstr;

constexpr int kThreads = 96;

// Each thread writes its number and reads its opposite's.
std::vector<int> Opposites(const Schedule& schedule, bool with_barrier) {
  std::vector<int> out(kThreads, -2);
  const absl::Status status = Launch({1, 1, kThreads, kThreads * 4}, schedule, [&] {
    const Shared<int> numbers(SharedBase());
    numbers[ThreadInBlock()] = ThreadInBlock();
    if (with_barrier) SyncBlock();
    out[ThreadInBlock()] = numbers[kThreads - 1 - ThreadInBlock()];
  });
  EXPECT_TRUE(status.ok()) << status;
  return out;
}

TEST(ThreadBlockTest, ABarrierMakesAllOrdersAgree) {
  const auto outputs =
      OnAllSchedules<int>([](const Schedule& s) { return Opposites(s, /*with_barrier=*/true); });
  EXPECT_TRUE(AreSame(outputs));
  std::vector<int> expected(kThreads);
  std::iota(expected.rbegin(), expected.rend(), 0);
  EXPECT_EQ(outputs[0], expected);
}

TEST(ThreadBlockTest, AMissingBarrierShows) {
  const auto outputs =
      OnAllSchedules<int>([](const Schedule& s) { return Opposites(s, /*with_barrier=*/false); });
  EXPECT_FALSE(AreSame(outputs));
  EXPECT_EQ(outputs[0][0], -1) << "unwritten shared memory is poison";
}

// A ring of two buffers: whoever reads a buffer must be done before the next copy into it begins.
std::vector<int> Ring(const Schedule& schedule, bool wait, bool barrier_after_use) {
  constexpr int kSteps = 5;
  alignas(16) int source[kSteps][4];
  std::iota(&source[0][0], &source[0][0] + kSteps * 4, 100);
  std::vector<int> out(kSteps * 32, -2);
  const absl::Status status = Launch({1, 1, 32, 2 * 16}, schedule, [&] {
    const Shared<int> ring(SharedBase());
    const auto fetch = [&](int step) {
      if (Lane() == 0 && step < kSteps) CopyAsync16(ring.at(step % 2 * 4), source[step]);
      CommitCopies();
    };
    fetch(0);
    for (int step = 0; step < kSteps; ++step) {
      fetch(step + 1);
      if (wait) WaitForCopies<1>();
      SyncBlock();
      out[step * 32 + Lane()] = ring[step % 2 * 4 + Lane() % 4];
      if (barrier_after_use) SyncBlock();
    }
    WaitForCopies<0>();
  });
  EXPECT_TRUE(status.ok()) << status;
  return out;
}

TEST(ThreadBlockTest, CopiesArriveWhenWaitedFor) {
  const auto outputs = OnAllSchedules<int>([](const Schedule& s) { return Ring(s, true, true); });
  EXPECT_TRUE(AreSame(outputs));
  for (int i = 0; i < 5 * 32; ++i) EXPECT_EQ(outputs[0][i], 100 + i / 32 * 4 + i % 4);
}

TEST(ThreadBlockTest, ReadingBeforeTheWaitShows) {
  EXPECT_FALSE(
      AreSame(OnAllSchedules<int>([](const Schedule& s) { return Ring(s, false, true); })));
}

TEST(ThreadBlockTest, CopyingOverWhatOthersStillReadShows) {
  EXPECT_FALSE(
      AreSame(OnAllSchedules<int>([](const Schedule& s) { return Ring(s, true, false); })));
}

TEST(ThreadBlockTest, ShufflesReadTheLaneThatWasNamed) {
  const auto outputs = OnAllSchedules<int>([](const Schedule& schedule) {
    std::vector<int> out(64);
    const absl::Status status = Launch({1, 1, 64}, schedule, [&] {
      out[ThreadInBlock()] = ShuffleXor(1000 + ThreadInBlock(), 5) + ShuffleFrom(Lane(), 7);
    });
    EXPECT_TRUE(status.ok()) << status;
    return out;
  });
  EXPECT_TRUE(AreSame(outputs));
  for (int i = 0; i < 64; ++i) EXPECT_EQ(outputs[0][i], 1000 + (i ^ 5) + 7);
}

TEST(ThreadBlockTest, NamedBarriersHoldTheirOwnWarps) {
  const auto outputs = OnAllSchedules<int>([](const Schedule& schedule) {
    std::vector<int> out(128, -2);
    const absl::Status status = Launch({1, 1, 128, 128 * 4}, schedule, [&] {
      const Shared<int> numbers(SharedBase());
      const int half = ThreadInBlock() / 64;
      numbers[ThreadInBlock()] = ThreadInBlock();
      emulation::ThreadBlock::Current().SyncNamed(1 + half, 64);
      out[ThreadInBlock()] = numbers[64 * half + 63 - ThreadInBlock() % 64];
    });
    EXPECT_TRUE(status.ok()) << status;
    return out;
  });
  EXPECT_TRUE(AreSame(outputs));
  for (int i = 0; i < 128; ++i) EXPECT_EQ(outputs[0][i], i / 64 * 64 + 63 - i % 64);
}

TEST(ThreadBlockTest, EveryBlockOfAGridRunsOnce) {
  for (const Schedule& schedule : AllSchedules()) {
    std::vector<int> runs(3 * 5);
    ASSERT_TRUE(Launch({3, 5}, schedule, [&] {
                  if (Lane() == 0) ++runs[BlockY() * 3 + BlockX()];
                }).ok());
    EXPECT_THAT(runs, Each(1));
  }
}

// What `kernel` is refused with, whatever the order.
void ExpectRefused(const Grid& grid, const std::string& cause, absl::FunctionRef<void()> kernel) {
  for (const Schedule& schedule : AllSchedules()) {
    const absl::Status status = Launch(grid, schedule, kernel);
    EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
    EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr("block (0, 0)"), HasSubstr(cause)));
  }
}

TEST(ThreadBlockTest, BrokenRulesAreNamed) {
  ExpectRefused({1, 1, 64}, "deadlock", [] {
    if (ThreadInBlock() != 33) SyncBlock();
  });
  ExpectRefused({1, 1, 32}, "deadlock", [] {
    if (Lane() < 16) SyncWarp();
  });
  ExpectRefused({1, 1, 32}, "while its warp is at", [] {
    if (Lane() < 16) {
      SyncWarp();
    } else {
      ShuffleXor(1, 1);
    }
  });
  ExpectRefused({1, 1, 32, 128}, "leaves shared memory", [] {
    const Shared<int> numbers(SharedBase());
    numbers[Lane() + 1] = 0;
  });
  ExpectRefused({1, 1, 32, 128}, "not aligned", [] {
    uint32_t to[4];
    LoadMatrices(SharedBase() + 8, to);
  });
  alignas(16) int source[4] = {};
  ExpectRefused({1, 1, 32, 512}, "ended before its copies", [&] {
    CopyAsync16(SharedBase() + 16 * Lane(), source);
    CommitCopies();
  });
  ExpectRefused({1, 1, 32, 512}, "unaligned source",
                [&] { CopyAsync16(SharedBase() + 16 * Lane(), source + 1); });
}

}  // namespace
}  // namespace reprise::engine::cuda
