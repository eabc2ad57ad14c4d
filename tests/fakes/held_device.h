// HeldDevice: passes everything on to another device, but a test decides when copies of a lane are
// seen to have ended, and whether they have failed. It counts marks. Thread-safe.
#pragma once

#include <array>

#include "absl/synchronization/mutex.h"
#include "tests/fakes/unguarded_device.h"

namespace reprise::cachestore {

class HeldDevice : public UnguardedDevice {
 public:
  explicit HeldDevice(Device* device) : UnguardedDevice(device, Guard::kNone, Lane::kCompute) {}

  // Waits for `lane` begin no sooner than when it is let go.
  void Hold(Lane lane) {
    absl::MutexLock lock(&mu_);
    Of(lane).is_held = true;
  }
  void LetGo(Lane lane) {
    absl::MutexLock lock(&mu_);
    Of(lane).is_held = false;
  }
  // Waits for `lane` end with `failure`.
  void FailLane(Lane lane, absl::Status failure) {
    absl::MutexLock lock(&mu_);
    Of(lane).failure = std::move(failure);
  }
  int64_t marks(Lane lane) const {
    absl::MutexLock lock(&mu_);
    return lanes_[static_cast<size_t>(lane)].marks;
  }

  Moment Mark(Lane lane) override {
    {
      absl::MutexLock lock(&mu_);
      ++Of(lane).marks;
    }
    return UnguardedDevice::Mark(lane);
  }
  absl::Status Wait(Moment moment) override {
    {
      absl::MutexLock lock(&mu_);
      const LaneState& lane = Of(moment.lane);
      const auto is_free = [&lane] { return !lane.is_held; };
      mu_.Await(absl::Condition(&is_free));
    }
    const absl::Status status = UnguardedDevice::Wait(moment);
    absl::MutexLock lock(&mu_);
    const LaneState& lane = Of(moment.lane);
    return lane.failure.ok() ? status : lane.failure;
  }

 private:
  struct LaneState {
    bool is_held = false;
    absl::Status failure;
    int64_t marks = 0;
  };
  LaneState& Of(Lane lane) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return lanes_[static_cast<size_t>(lane)];
  }

  mutable absl::Mutex mu_;
  std::array<LaneState, kNumLanes> lanes_ ABSL_GUARDED_BY(mu_);
};

}  // namespace reprise::cachestore
