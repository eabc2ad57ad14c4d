// GpuDemoter: keeps the GPU blocks that go first clean (a copy in RAM or on disk too), so that
// Allocate can take their slots at once, and copies to RAM whatever must go on to disk. It owns one
// thread. Where RAM takes nothing, it lets the GPU tier drop last copies instead. Thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "cachestore/store/device_transfers.h"
#include "cachestore/store/store_core.h"

namespace reprise::cachestore {

class GpuDemoter {
 public:
  // Starts the thread. REQUIRES: core has a device. All outlive the demoter.
  GpuDemoter(StoreCore& core, DeviceTransfers& transfers);
  // Finishes the copies under way and ends the thread.
  ~GpuDemoter();

  // Moves the blocks that are on the GPU and not pinned now to RAM. What nothing below takes,
  // because the disk refuses writes, is dropped. BLOCKS, at most until `deadline`; false: it has
  // passed.
  bool DemoteAll(absl::Time deadline) ABSL_LOCKS_EXCLUDED(core_.mu);

 private:
  enum class Outcome { kProgress, kNothing, kRefused };
  struct Request {
    uint64_t moment = 0;
    bool done = false;
  };

  void Run();
  // Waits until there may be something to do; false when the thread should end.
  bool AwaitWork() ABSL_LOCKS_EXCLUDED(core_.mu);
  bool HasWork() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu);
  void ServeRequests() ABSL_LOCKS_EXCLUDED(core_.mu);
  // Moves the blocks that were not used after `moment`; false: given up, because nobody waits for
  // it.
  bool MoveBefore(uint64_t moment) ABSL_LOCKS_EXCLUDED(core_.mu);
  void TakeCleanBefore(uint64_t moment) ABSL_LOCKS_EXCLUDED(core_.mu);
  Outcome Relieve() ABSL_LOCKS_EXCLUDED(core_.mu);
  // Copies one batch to RAM and waits for it. kRefused: RAM has no slot now.
  Outcome WriteBack(const FetchGoal& goal) ABSL_LOCKS_EXCLUDED(core_.mu);
  void EndWriteBack(const std::vector<Fetch>& fetches, absl::Time began, const absl::Status& status)
      ABSL_LOCKS_EXCLUDED(core_.mu);
  void NoteRefusal(uint32_t wanted_ram_for) ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu);

  StoreCore& core_;
  DeviceTransfers& transfers_;
  std::vector<std::shared_ptr<Request>> requests_ ABSL_GUARDED_BY(core_.mu);  // not done
  absl::CondVar request_done_;
  bool stop_ ABSL_GUARDED_BY(core_.mu) = false;
  // From the low watermark on, until there is twice as much.
  bool relieving_ ABSL_GUARDED_BY(core_.mu) = false;
  // Since when RAM has had no slot, though it should get one from the disk.
  absl::Time refused_since_ ABSL_GUARDED_BY(core_.mu) = absl::InfiniteFuture();
  // When RAM is asked again: whatever happens, not at once after it has refused, because its
  // demoter and this one wake each other.
  absl::Time ask_after_ ABSL_GUARDED_BY(core_.mu) = absl::InfinitePast();
  // StoreCore::gpu_events when the last look found nothing to do.
  uint64_t fruitless_events_ ABSL_GUARDED_BY(core_.mu) = 0;
  std::thread thread_;
};

}  // namespace reprise::cachestore
