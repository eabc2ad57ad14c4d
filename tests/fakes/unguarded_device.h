// UnguardedDevice: passes everything on to another device but the calls of one kind on one lane,
// which it drops as if the code above had forgotten them. A test that passes on it shows nothing.
#pragma once

#include "cachestore/memory/device.h"

namespace reprise::cachestore {

// What is dropped of a lane: what it Awaits; its Marks, which then name a moment that has always
// passed; that the host waits for it.
enum class Guard { kNone, kAwait, kMark, kWait };

class UnguardedDevice : public Device {
 public:
  // `device` outlives this.
  UnguardedDevice(Device* device, Guard dropped, Lane lane)
      : device_(device), dropped_(dropped), lane_(lane) {}

  absl::StatusOr<DeviceBytes> Reserve(size_t bytes) override { return device_->Reserve(bytes); }
  absl::StatusOr<DeviceBytes> Register(absl::Span<std::byte> host) override {
    return device_->Register(host);
  }
  absl::Status Copy(Lane lane, absl::Span<const CopyPiece> pieces) override {
    return device_->Copy(lane, pieces);
  }
  Moment Mark(Lane lane) override {
    return Drops(Guard::kMark, lane) ? Moment{lane, 0} : device_->Mark(lane);
  }
  void Await(Lane lane, Moment moment) override {
    if (!Drops(Guard::kAwait, lane)) device_->Await(lane, moment);
  }
  bool HasPassed(Moment moment) override {
    return Drops(Guard::kWait, moment.lane) || device_->HasPassed(moment);
  }
  absl::Status Wait(Moment moment) override {
    return Drops(Guard::kWait, moment.lane) ? absl::OkStatus() : device_->Wait(moment);
  }
  void* Stream(Lane lane) override { return device_->Stream(lane); }

 private:
  bool Drops(Guard guard, Lane lane) const { return guard == dropped_ && lane == lane_; }

  Device* const device_;
  const Guard dropped_;
  const Lane lane_;
};

}  // namespace reprise::cachestore
