// Device: an accelerator as the store and the backend share it: memory of its own, and three lanes
// of work that run beside the host and beside each other.
//
//     kCompute   -- step --+-- step -------------+-- step --     a lane does its work in order
//                          | Mark                ^ Await
//     kToHost    ----------v-- copy --           |
//     kToDevice  -- copy ------------ Mark ------+
//
// Nothing orders two lanes, or a lane and the host, but these four calls: Mark names what a lane
// was given so far, Await holds a lane back until another has passed that, HasPassed and Wait tell
// the host. So, for a block:
//  (1) its copy to the host Awaits the Mark after the step that wrote it;
//  (2) a step that reads it Awaits the Mark after its copy to the device;
//  (3) its place is given to another block only for work that Awaits the Marks of the last work
//  that
//      used it;
//  (4) host memory that a lane reads is not written again before the Mark after that has passed
//      (StagingRing).
//
// An error of work under way is the device's for good: Wait and Copy return it from then on, and no
// moment passes any more that had not. Thread-safe; no CUDA type stands here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "cachestore/memory/copy_piece.h"
#include "cachestore/memory/copy_plan.h"
#include "cachestore/memory/device_bytes.h"

namespace reprise::cachestore {

enum class Lane : uint8_t { kCompute, kToDevice, kToHost };
inline constexpr int kNumLanes = 3;

// All work that a lane had been given when Mark was called. Number 0 has passed always.
struct Moment {
  Lane lane = Lane::kCompute;
  uint64_t number = 0;  // a later moment of the lane has no lower one
};

// Whether `lane` makes copies of `direction`.
constexpr bool MayCopy(Lane lane, CopyDirection direction) {
  return lane == Lane::kCompute ||
         direction == (lane == Lane::kToHost ? CopyDirection::kToHost : CopyDirection::kToDevice);
}

class Device {
 public:
  // Start and size of device memory, and of host memory that is pinned, are multiples of this.
  static constexpr size_t kAlignment = 4096;

  // Ends when all work has. BLOCKS.
  virtual ~Device() = default;

  // `bytes` (> 0, a multiple of kAlignment) of device memory, with whatever was there before.
  // kResourceExhausted names what is wanted and what is free. When they are given back, no work
  // that uses them may be under way.
  virtual absl::StatusOr<DeviceBytes> Reserve(size_t bytes) = 0;
  // Pins `host` (aligned as above, mapped, and not pinned yet), so that copies reach it at full
  // speed and kernels at its own address. The memory stays the caller's and must outlive what is
  // returned. BLOCKS, about 0.1 s a GB. kResourceExhausted: the system pins no more.
  virtual absl::StatusOr<DeviceBytes> Register(absl::Span<std::byte> host) = 0;

  // Gives `lane` the copy of all pieces, in any order and by the fastest means (copy_plan.h); the
  // list is not needed afterwards. No two destinations overlap. On each side, all pieces lie in
  // device memory or all in pinned memory: device to host on kToHost, host to device on kToDevice,
  // anything but host to host on kCompute.
  virtual absl::Status Copy(Lane lane, absl::Span<const CopyPiece> pieces) = 0;

  virtual Moment Mark(Lane lane) = 0;
  // Work given to `lane` from now on starts after `moment`.
  virtual void Await(Lane lane, Moment moment) = 0;
  // False for good if the work failed: then Wait says why.
  virtual bool HasPassed(Moment moment) = 0;
  // BLOCKS until `moment` has passed. kInternal: the work of a lane failed.
  virtual absl::Status Wait(Moment moment) = 0;

  // What launchers of kernels take to give work to `lane`: a cudaStream_t. Never used to capture a
  // graph, since another thread may Mark meanwhile.
  virtual void* Stream(Lane lane) = 0;
};

// The machine's first device (CUDA_VISIBLE_DEVICES decides which that is). kNotFound: this build
// has no CUDA, or the machine has no device or driver for it; the message says which.
absl::StatusOr<std::unique_ptr<Device>> OpenDevice(const CopyCrossovers& crossovers = {});

}  // namespace reprise::cachestore
