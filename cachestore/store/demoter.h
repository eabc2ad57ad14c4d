// Demoter: the one thread that writes to the disk tier. It keeps the RAM blocks that go first clean
// (also on disk), so that Allocate can take their slots at once; it erases disk copies to make room
// for that, erases condemned ones, and moves everything to disk when asked. While loads wait and
// RAM is not short, it lets them go before.
//
// It does the same for each tenant's quota, beyond which nobody else's blocks are touched. Now and
// then, and at its end, it saves what the order of eviction has learned (ModelKeeper).
//
// When the disk refuses writes it lets the RAM tier drop last copies instead, and tries again after
// a growing pause. Thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "cachestore/store/model_keeper.h"
#include "cachestore/store/store_core.h"

namespace reprise::cachestore {

class Demoter {
 public:
  // Starts the thread. REQUIRES: core has a tier; it outlives the demoter.
  Demoter(StoreCore& core, absl::Duration save_model_every);
  // Finishes the I/O under way, saves what was learned and ends the thread.
  ~Demoter();

  // Moves the blocks that are in RAM and unpinned now; see TieredStore::Demote. BLOCKS, at most
  // until `deadline`; nullopt: it has passed, the move goes on if it has begun.
  std::optional<TakenBlocks> DemoteAll(absl::Time deadline) ABSL_LOCKS_EXCLUDED(core_.mu);

 private:
  // One durable write for this many blocks: the sync is paid once, and Allocate still finds room
  // soon. Large blocks fill a batch by their bytes.
  static constexpr size_t kBatchBlocks = 32;
  static constexpr uint64_t kBatchBytes = uint64_t{64} << 20;
  // Who was refused room and still wants it asks again, or waits, sooner than that.
  static constexpr absl::Duration kWantLasts = absl::Milliseconds(100);

  enum class Outcome { kProgress, kNothing, kRefused };
  enum class Wake { kWork, kSave, kEnd };
  struct Request {
    uint64_t moment = 0;  // of the policy; blocks used since are left alone
    TakenBlocks taken;
    bool done = false;
  };

  void Run();
  // Waits until there may be something to do, or, with nothing to do yet, a save is due.
  Wake AwaitWork() ABSL_LOCKS_EXCLUDED(core_.mu);
  bool HasWork() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu);
  void ServeRequests() ABSL_LOCKS_EXCLUDED(core_.mu);
  // Moves the blocks not used since `moment`; adds them to `taken`. False: some can move only when
  // loads of their condemned disk copies, in flight now, have ended, or the thread should end.
  bool MoveBefore(uint64_t moment, TakenBlocks& taken) ABSL_LOCKS_EXCLUDED(core_.mu);
  // Takes the clean blocks not used since `moment`, in steps; adds them to `taken`.
  void TakeCleanBefore(uint64_t moment, TakenBlocks& taken) ABSL_LOCKS_EXCLUDED(core_.mu);
  Outcome Relieve() ABSL_LOCKS_EXCLUDED(core_.mu);
  // The same for the shares that are in need of it, until there was something to do for one.
  Outcome RelieveShares() ABSL_LOCKS_EXCLUDED(core_.mu);
  // The share whose turn it is, which is not noted as being in need any more; kCommonShare: none
  // is.
  uint32_t NextInNeed() ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu);
  Outcome RelieveShare(uint32_t share) ABSL_LOCKS_EXCLUDED(core_.mu);
  // What the next batch for the share is for; nullopt when it is not short of room.
  std::optional<StoreGoal> GoalOf(uint32_t share) ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu);
  // Erases some of what the share has on disk beyond its quota.
  Outcome EraseBeyondQuota(uint32_t share) ABSL_LOCKS_EXCLUDED(core_.mu);
  // Condemns all orphans. Erases some condemned copies; none, if only a settling is wanted.
  Outcome EraseCondemned() ABSL_LOCKS_EXCLUDED(core_.mu);
  // Stores one batch for `goal`; `stored` gets its blocks.
  Outcome StoreOne(StoreGoal goal, std::vector<BlockId>& stored) ABSL_LOCKS_EXCLUDED(core_.mu);
  // Takes the blocks after the first `num_blocks` out of the batch.
  void Shrink(StoreBatch& batch, size_t num_blocks) ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu);
  // Makes the namespaces of the batch known on disk.
  absl::Status BindNamespaces(const StoreBatch& batch) ABSL_LOCKS_EXCLUDED(core_.mu);
  // Erases disk copies until `num_slots` blocks fit or no copy may go; returns how many fit.
  int64_t MakeDiskRoom(uint64_t payload_bytes, int64_t num_slots) ABSL_LOCKS_EXCLUDED(core_.mu);
  // Erases disk copies of the batch's share until its quota has room for the batch, whose blocks
  // count already, or no copy may go; returns how many blocks it has room for. nullopt: the disk
  // has refused an erase, so that nobody knows.
  std::optional<int64_t> MakeQuotaRoom(const StoreBatch& batch) ABSL_LOCKS_EXCLUDED(core_.mu);
  // The disk copies to erase next for `count` blocks more.
  std::vector<BlockId> ChooseToErase(uint64_t payload_bytes, int64_t count)
      ABSL_LOCKS_EXCLUDED(core_.mu);
  // Marks the disk copies of `keys`, and those below them, as being erased, if all of them may go
  // and at least half go before the best victim of the size of `payload_bytes`; returns them. Empty
  // otherwise.
  std::vector<BlockId> BeginEraseTogether(absl::Span<const BlockKey> keys, uint64_t payload_bytes)
      ABSL_LOCKS_EXCLUDED(core_.mu);
  // Erases what a Begin... call marked.
  Outcome Erase(const std::vector<BlockId>& blocks) ABSL_LOCKS_EXCLUDED(core_.mu);
  void NoteRefusal() ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu);
  void NoteSuccess() ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu);

  StoreCore& core_;
  std::vector<std::shared_ptr<Request>> requests_ ABSL_GUARDED_BY(core_.mu);  // not done
  bool has_new_request_ ABSL_GUARDED_BY(core_.mu) = false;
  absl::CondVar request_done_;
  bool stop_ ABSL_GUARDED_BY(core_.mu) = false;
  // From the low watermark on, until there is twice as much.
  bool relieving_ ABSL_GUARDED_BY(core_.mu) = false;
  // StoreCore::work_events when the last look found nothing to do.
  uint64_t fruitless_events_ ABSL_GUARDED_BY(core_.mu) = 0;
  absl::Time retry_after_ ABSL_GUARDED_BY(core_.mu) = absl::InfinitePast();
  absl::Duration pause_ ABSL_GUARDED_BY(core_.mu);
  uint32_t last_relieved_ = kCommonShare;  // only the thread uses these three
  absl::Time look_beside_after_ = absl::InfinitePast();
  ModelKeeper model_keeper_;
  std::thread thread_;
};

}  // namespace reprise::cachestore
