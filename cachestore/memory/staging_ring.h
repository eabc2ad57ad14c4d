// StagingRing: pinned host buffers that go round between the host and a lane: the host fills one,
// gives a lane the copy that reads it, and turns to the next. A buffer is handed out again only
// when that lane has passed what read it, so what the lane reads is what the host wrote.
//
// Each buffer counts generations: one more when it is handed out and one more when it is released.
// A handle knows the generation it is of, and every use of one that is of the past ends the
// process. Thread-compatible; handles are used where the ring is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "cachestore/memory/device.h"
#include "cachestore/memory/host_arena.h"

namespace reprise::cachestore {

class StagingRing {
 public:
  // One buffer, the holder's until it is released; destroyed without that, no lane used it and it
  // is free at once. Move-only. The ring outlives it.
  class Buffer {
   public:
    // For the ring.
    Buffer(StagingRing* ring, size_t index, uint64_t generation)
        : ring_(ring), index_(index), generation_(generation) {}
    Buffer(Buffer&& other) noexcept;
    Buffer& operator=(Buffer&&) = delete;
    ~Buffer();

    // REQUIRES: not released.
    absl::Span<std::byte> bytes() const;
    // The buffer is free once `lane` has passed all that it has been given by now. REQUIRES: not
    // released.
    void ReleaseAfter(Lane lane);

   private:
    StagingRing* ring_;  // null once moved from
    const size_t index_;
    const uint64_t generation_;
  };

  // `num_buffers` (> 0) of `buffer_bytes` (> 0) each, pinned for `device`, which outlives the ring.
  // Errors are HostArena's and Device::Register's.
  static absl::StatusOr<std::unique_ptr<StagingRing>> Create(Device* device, size_t num_buffers,
                                                             size_t buffer_bytes);
  // Waits until no lane reads a buffer. BLOCKS. REQUIRES: no buffer is held.
  ~StagingRing();
  StagingRing(const StagingRing&) = delete;
  StagingRing& operator=(const StagingRing&) = delete;

  // The buffer that was released longest ago. BLOCKS until no lane reads it. kResourceExhausted:
  // all are held; kInternal: the device failed.
  absl::StatusOr<Buffer> Acquire();

 private:
  struct Slot {
    uint64_t generation = 0;  // odd while the buffer is held
    Moment read;              // when it has passed, no lane reads the buffer
    uint64_t released = 0;    // counts releases, to find the oldest
  };

  StagingRing(Device* device, std::unique_ptr<HostArena> memory, DeviceBytes pinned,
              size_t num_buffers, size_t buffer_bytes);

  void Release(size_t index, Moment read);

  Device* const device_;
  const std::unique_ptr<HostArena> memory_;
  const DeviceBytes pinned_;
  const size_t buffer_bytes_;
  std::vector<Slot> slots_;
  uint64_t num_released_ = 0;
};

}  // namespace reprise::cachestore
