#include "engine/backend/cuda/emulation/phase_barriers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/backend/cuda/kernels/hopper_code.h"
#include "tests/engine/backend/cuda/schedules.h"

namespace reprise::engine::cuda {
namespace {

using emulation::Launch;
using emulation::Schedule;
using testing::HasSubstr;

constexpr int kSteps = 5;
constexpr int kStages = 2;
constexpr int kBoxRows = 8;
constexpr int kBoxBytes = kBoxRows * kLineBytes;
constexpr int kBarriersAt = kStages * kBoxBytes;

// A tensor of kSteps boxes, each element its number.
struct Tensor {
  alignas(16) uint16_t elements[kSteps * kBoxRows][kLineElements];
  Tensor() { std::iota(&elements[0][0], &elements[0][0] + kSteps * kBoxRows * kLineElements, 0); }
  TensorMap map() const {
    return {reinterpret_cast<const std::byte*>(elements), kSteps * kBoxRows, kLineElements,
            kBoxRows, kLineElements};
  }
};

// What the ring below does about its barriers.
struct Care {
  bool waits_until_full = true;
  bool waits_until_empty = true;
  bool fences = true;
  int announced_bytes = kBoxBytes;
};

// Warp 1 brings boxes through a ring of two stages, warp 0 reads the first line of each: what the
// copies and barriers of a kernel are for. Piece p of line 0 stays in its place.
absl::StatusOr<std::vector<int>> Ring(const Schedule& schedule, const Care& care) {
  const Tensor tensor;
  std::vector<int> out(kSteps * kLineElements, -2);
  const absl::Status status = Launch({1, 1, 64, kBarriersAt + 64}, schedule, [&] {
    uint64_t* const full = reinterpret_cast<uint64_t*>(SharedBase() + kBarriersAt);
    uint64_t* const empty = full + kStages;
    if (ThreadInBlock() == 0) {
      for (int stage = 0; stage < kStages; ++stage) {
        InitBarrier(full + stage, 1);
        InitBarrier(empty + stage, 1);
      }
      if (care.fences) FenceBarriers();
    }
    SyncBlock();
    for (int step = 0; step < kSteps; ++step) {
      const int stage = step % kStages;
      const int parity = step / kStages % 2;
      uint8_t* const box = SharedBase() + stage * kBoxBytes;
      if (WarpInBlock() == 1 && Lane() == 0) {
        if (care.waits_until_empty) WaitForPhase(empty + stage, parity ^ 1);
        ArriveForBytes(full + stage, care.announced_bytes);
        CopyBox(box, tensor.map(), 0, step * kBoxRows, full + stage);
      }
      if (WarpInBlock() == 0) {
        if (care.waits_until_full) WaitForPhase(full + stage, parity);
        const Shared<uint16_t> line(box);
        for (int i = Lane(); i < kLineElements; i += kLanes) {
          out[step * kLineElements + i] = line[i];
        }
        SyncWarp();
        if (Lane() == 0) Arrive(empty + stage);
      }
    }
  });
  if (!status.ok()) return status;
  return out;
}

TEST(PhaseBarriersTest, BoxesPassThroughARing) {
  std::vector<std::vector<int>> outputs;
  for (const Schedule& schedule : AllSchedules()) {
    const auto out = Ring(schedule, {});
    ASSERT_TRUE(out.ok()) << out.status();
    outputs.push_back(*out);
  }
  EXPECT_TRUE(AreSame(outputs));
  for (int i = 0; i < kSteps * kLineElements; ++i) {
    EXPECT_EQ(outputs[0][i], i / kLineElements * kBoxRows * kLineElements + i % kLineElements);
  }
}

// Whether all schedules end well with the same result.
bool IsSound(const Care& care) {
  std::vector<std::vector<int>> outputs;
  for (const Schedule& schedule : AllSchedules()) {
    const auto out = Ring(schedule, care);
    if (!out.ok()) return false;
    outputs.push_back(*out);
  }
  return AreSame(outputs);
}

TEST(PhaseBarriersTest, AMissingWaitShows) {
  ASSERT_TRUE(IsSound({}));
  EXPECT_FALSE(IsSound({.waits_until_full = false}));
  EXPECT_FALSE(IsSound({.waits_until_empty = false}));
}

void ExpectFailure(const absl::Status& status, const std::string& cause) {
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(status.message()), HasSubstr(cause));
}

TEST(PhaseBarriersTest, AWrongCountOfBytesShows) {
  for (const Schedule& schedule : AllSchedules()) {
    ExpectFailure(Ring(schedule, {.announced_bytes = kBoxBytes + 16}).status(), "deadlock");
    ExpectFailure(Ring(schedule, {.announced_bytes = kBoxBytes - 16}).status(),
                  "more bytes landed");
  }
}

TEST(PhaseBarriersTest, CopiesToAnUnfencedBarrierAreRefused) {
  ExpectFailure(Ring({}, {.fences = false}).status(), "was not fenced");
}

// What one thread of a warp is refused with.
void ExpectRefused(const std::string& cause, absl::FunctionRef<void()> kernel) {
  for (const Schedule& schedule : AllSchedules()) {
    ExpectFailure(Launch({1, 1, 32, 4096}, schedule,
                         [&] {
                           if (Lane() == 0) kernel();
                         }),
                  cause);
  }
}

TEST(PhaseBarriersTest, BrokenRulesAreNamed) {
  const auto barrier = [] { return reinterpret_cast<uint64_t*>(SharedBase() + 2048); };
  ExpectRefused("no mbarrier was made here", [&] { Arrive(barrier()); });
  ExpectRefused("not aligned",
                [&] { InitBarrier(reinterpret_cast<uint64_t*>(SharedBase() + 4), 1); });
  ExpectRefused("made twice", [&] {
    InitBarrier(barrier(), 1);
    InitBarrier(barrier(), 1);
  });
  ExpectRefused("was overwritten", [&] {
    InitBarrier(barrier(), 1);
    *barrier() = 0;
    Arrive(barrier());
  });
  const Tensor tensor;
  ExpectRefused("not aligned", [&] {
    InitBarrier(barrier(), 1);
    FenceBarriers();
    ArriveForBytes(barrier(), kBoxBytes);
    CopyBox(SharedBase() + 128, tensor.map(), 0, 0, barrier());
  });
}

TEST(PhaseBarriersTest, ABoxThatNobodyWaitedForIsNamed) {
  const Tensor tensor;
  ExpectFailure(Launch({1, 1, 32, 4096}, {},
                       [&] {
                         uint64_t* const barrier = reinterpret_cast<uint64_t*>(SharedBase() + 2048);
                         if (Lane() > 0) return;
                         InitBarrier(barrier, 1);
                         FenceBarriers();
                         ArriveForBytes(barrier, kBoxBytes);
                         CopyBox(SharedBase(), tensor.map(), 0, 0, barrier);
                       }),
                "before a box that it fetches was there");
}

}  // namespace
}  // namespace reprise::engine::cuda
