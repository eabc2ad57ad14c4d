// The hops of loads between RAM and the GPU: see promoter.h.
#include <utility>

#include "absl/time/clock.h"
#include "cachestore/base/check.h"
#include "cachestore/store/promoter.h"

namespace reprise::cachestore {
namespace {

// Copies that end together: large enough for one call's cost, small enough that what comes first
// is told soon.
constexpr uint64_t kCopyBatchBytes = uint64_t{32} << 20;

// Gives `copies` to `lane` in batches; `add` enters one into a transfer, `finish` gets those of a
// batch when it has ended, and `given` (may be empty) the moment by which all have landed.
template <typename Copy, typename Add, typename Finish>
void StartInBatches(DeviceTransfers& transfers, Lane lane, const std::vector<Copy>& copies, Add add,
                    Finish finish, absl::AnyInvocable<void(Moment)> given = nullptr) {
  for (size_t i = 0; i < copies.size();) {
    DeviceTransfer transfer;
    std::vector<Copy> batch;
    for (uint64_t bytes = 0; i < copies.size() && bytes < kCopyBatchBytes; ++i) {
      add(copies[i], transfer);
      bytes += copies[i].piece.bytes;
      batch.push_back(copies[i]);
    }
    transfer.done = [finish, batch = std::move(batch)](const absl::Status& status) {
      finish(batch, status);
    };
    if (i == copies.size()) transfer.given = std::move(given);
    transfers.Start(lane, Urgency::kAwaited, std::move(transfer));
  }
}

}  // namespace

bool Promoter::StartFromGpuLocked(BlockId id, Load load, Work& work) {
  const std::optional<Fetch> fetch = core_.gpu.BeginFetch(id);
  if (!fetch.has_value()) return false;
  // The copy's own pin: loads_ names the block, whose node goes with the tier if the device fails.
  core_.ram.Pin(id);
  load.began = absl::Now();
  core_.to_host_rates.Begin(fetch->piece.bytes, load.began);
  load.slot = fetch->ram_slot;
  loads_[id] = std::move(load);
  work.to_ram.push_back(*fetch);
  return true;
}

void Promoter::StartToGpuLocked(BlockId id, const Load& load, Work& work) {
  // The copy's own pin: those who wait for it may give up.
  core_.ram.Pin(id);
  const absl::Span<std::byte> bytes = core_.RamBytes(id);
  const absl::Time now = absl::Now();
  core_.to_device_rates.Begin(bytes.size(), now);
  work.to_gpu.push_back({.id = id,
                         .piece = {.to = core_.state.gpu.pool.SlotMemory(load.gpu_slot).data(),
                                   .from = bytes.data(),
                                   .bytes = bytes.size()},
                         .freed = core_.gpu.last_freed(),
                         .began = now});
}

void Promoter::StartCopies(const Work& work) {
  const auto add_to_gpu = [](const ToGpu& copy, DeviceTransfer& t) {
    t.Add(copy.piece, copy.freed);
  };
  for (const Part& part : work.parts_to_gpu) {
    StartInBatches(
        *transfers_, Lane::kToDevice, part.copies, add_to_gpu,
        [this](const std::vector<ToGpu>& copies, const absl::Status& status) {
          FinishPart(copies, status);
        },
        [ticket = part.ticket, begin = part.begin, end = part.end](Moment landed) {
          if (ticket != nullptr) ticket->NoteArrived(begin, end, landed);
        });
  }
  if (!work.to_gpu.empty()) {
    StartInBatches(*transfers_, Lane::kToDevice, work.to_gpu, add_to_gpu,
                   [this](const std::vector<ToGpu>& copies, const absl::Status& status) {
                     FinishToGpu(copies, status);
                   });
  }
  if (!work.to_ram.empty()) {
    StartInBatches(
        *transfers_, Lane::kToHost, work.to_ram,
        [](const Fetch& fetch, DeviceTransfer& t) { t.Add(fetch.piece, fetch.written); },
        [this](const std::vector<Fetch>& copies, const absl::Status& status) {
          FinishToRam(copies, status);
        });
  }
}

void Promoter::FinishToGpu(const std::vector<ToGpu>& copies, const absl::Status& status) {
  const absl::Time ended = absl::Now();
  Work work;
  {
    absl::MutexLock lock(&core_.mu);
    ++ending_;
    if (!status.ok()) core_.CloseGpu();
    for (const ToGpu& copy : copies) {
      EndToGpuLocked(copy.id, status.ok(), work);
      core_.to_device_rates.End(copy.piece.bytes, status.ok(), ended);
      if (status.ok()) core_.state.counters.load_to_gpu.Add(ended - copy.began);
    }
    PumpLocked(work);
    core_.NoteChange();
  }
  GoOn(std::move(work));
}

void Promoter::EndToGpuLocked(BlockId id, bool ok, Work& work) {
  const Load load = std::move(loads_.at(id));
  loads_.erase(id);
  const bool readable = core_.gpu.EndLoad(id, load.gpu_slot);
  EndWaitersLocked(load,
                   readable ? Outcome::kReady
                   : ok     ? Outcome::kLost
                            : Outcome::kIoError,
                   work);
  core_.ram.Unpin(id);
}

void Promoter::FinishToRam(const std::vector<Fetch>& copies, const absl::Status& status) {
  const absl::Time ended = absl::Now();
  std::vector<uint64_t> hashes;
  if (status.ok()) hashes = HashFetched(copies, core_.tier != nullptr);
  Work work;
  {
    absl::MutexLock lock(&core_.mu);
    ++ending_;
    if (!status.ok()) core_.CloseGpu();
    for (size_t i = 0; i < copies.size(); ++i) {
      const BlockId id = copies[i].id;
      const Load load = std::move(loads_.at(id));
      loads_.erase(id);
      EndWaitersLocked(load, EndFetchLocked(copies[i], status.ok() ? &hashes[i] : nullptr), work);
      core_.ram.Unpin(id);
      core_.to_host_rates.End(copies[i].piece.bytes, status.ok(), ended);
      if (status.ok()) core_.state.counters.store_from_gpu.Add(ended - load.began);
    }
    PumpLocked(work);
    core_.NoteChange();
  }
  GoOn(std::move(work));
}

Promoter::Outcome Promoter::EndFetchLocked(const Fetch& fetch, const uint64_t* payload_hash) {
  if (payload_hash == nullptr) {
    core_.gpu.AbortFetch(fetch);
    return Outcome::kIoError;
  }
  switch (core_.EndFetch(fetch, *payload_hash)) {
    case FetchEnd::kReadable:
      return Outcome::kReady;
    case FetchEnd::kCorrupt:
      return Outcome::kCorrupt;
    case FetchEnd::kGone:
      break;
  }
  return Outcome::kLost;
}

void Promoter::PinEntryOnGpuLocked(Entry& entry) {
  CHECK(!entry.gpu_pinned);
  core_.gpu.Pin(entry.id);
  entry.gpu_pinned = true;
  if (std::exchange(entry.pinned, false)) core_.ram.Unpin(entry.id);
}

void Promoter::UnpinEntryLocked(Entry& entry) {
  if (std::exchange(entry.gpu_pinned, false)) core_.gpu.Unpin(entry.id);
  if (std::exchange(entry.pinned, false)) core_.ram.Unpin(entry.id);
}

BlockRef Promoter::RefLocked(Tier tier, BlockId id) {
  return core_.Pinned(&registry_, {tier, id}, core_.state.index.node(id).key);
}

}  // namespace reprise::cachestore
