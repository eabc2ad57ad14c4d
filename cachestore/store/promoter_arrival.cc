// Tickets whose blocks are loaded by layer: see promoter.h.
#include <algorithm>
#include <utility>

#include "absl/time/clock.h"
#include "cachestore/store/promoter.h"

namespace reprise::cachestore {
namespace {

// Parts that a convoy is copied in: the first is there soon, and none is too small for its call.
constexpr uint64_t kParts = 8;

// Bytes of the part of a block that begins at `begin`, in whole layers.
uint64_t PartBytes(uint64_t block_bytes, uint64_t layer_bytes) {
  const uint64_t layers = block_bytes / layer_bytes;
  return (layers + kParts - 1) / kParts * layer_bytes;
}

}  // namespace

bool Promoter::MayLoadByLayerLocked() const {
  // Pieces of a long prefix come before the last ones of a short one, so no two at a time.
  return loads_.empty() && tickets_.size() == 1;
}

void Promoter::LoadByLayerLocked(const std::shared_ptr<Pending>& pending, uint64_t layer_bytes,
                                 Work& work) {
  const size_t num_blocks = pending->entries.size();
  if (pending->tier == Tier::kGpu) {
    pending->convoy =
        std::make_shared<Convoy>(Convoy{.ticket = pending->state,
                                        .block_bytes = pending->payload_bytes,
                                        .layer_bytes = layer_bytes,
                                        .verified = LeadingBytes(num_blocks),
                                        .blocks = std::vector<BlockId>(num_blocks, kNoBlock)});
  } else {
    pending->arriving.emplace(num_blocks);
  }
  for (size_t i = 0; i < pending->next; ++i) {
    NoteArrivedLocked(*pending, i, pending->payload_bytes);
  }
  NoRoom no_room;
  while (pending->next < pending->end && LoadNextLocked(pending, no_room, work)) {
    PinResidentLocked(*pending);
  }
  if (pending->convoy != nullptr) SetOutLocked(*pending, work);
}

void Promoter::SetOutLocked(Pending& pending, Work& work) {
  const std::shared_ptr<Convoy> convoy = pending.convoy;
  // What has a slot must not wait for what has none: the room may be what they hold.
  const bool all_go = pending.next == pending.entries.size();
  if (!all_go) pending.convoy = nullptr;
  for (size_t place = 0; place < convoy->blocks.size(); ++place) {
    const BlockId id = convoy->blocks[place];
    if (id == kNoBlock) {
      convoy->verified.Raise(place, convoy->block_bytes);
      continue;
    }
    Load& load = loads_.at(id);
    if (!all_go) load.convoy = nullptr;
    if (load.from != Source::kRam) continue;
    if (all_go) {
      NoteInRamLocked(id, load);
      convoy->verified.Raise(place, convoy->block_bytes);
    } else {
      StartToGpuLocked(id, load, work);
    }
  }
  if (!all_go) return;
  convoy->freed = core_.gpu.last_freed();
  SendLocked(*convoy, work);
}

void Promoter::SendLocked(Convoy& convoy, Work& work) {
  const uint64_t verified = convoy.verified.least();
  const uint64_t part_bytes = PartBytes(convoy.block_bytes, convoy.layer_bytes);
  const absl::Time now = absl::Now();
  while (convoy.sent < convoy.block_bytes) {
    const uint64_t begin = convoy.sent;
    if (begin == 0) convoy.began = now;
    uint64_t end = std::min(begin + part_bytes, convoy.block_bytes);
    if (end > verified) end = verified / convoy.layer_bytes * convoy.layer_bytes;
    if (end <= begin) return;
    // That all is there, the end of the ticket says.
    Part part = {.ticket = nullptr,
                 .begin = begin,
                 .end = std::min(end, convoy.block_bytes - 1),
                 .copies = {}};
    for (const BlockId id : convoy.blocks) {
      if (id == kNoBlock) continue;
      Load& load = loads_.at(id);
      const std::byte* const from = load.is_in_ram ? core_.RamBytes(id).data()
                                                   : core_.state.pool.SlotMemory(load.slot).data();
      std::byte* const to = core_.state.gpu.pool.SlotMemory(load.gpu_slot).data();
      part.copies.push_back(
          {.id = id,
           .piece = {.to = to + begin, .from = from + begin, .bytes = end - begin},
           .freed = convoy.freed});
      ++load.copies;
      core_.to_device_rates.Begin(end - begin, now);
    }
    // All were left behind else.
    if (!part.copies.empty()) {
      work.parts_to_gpu.push_back(std::move(part));
      // Goes with `work`, outside of the lock: the last one gives back the ticket's pins.
      work.parts_to_gpu.back().ticket = convoy.ticket.lock();
    }
    convoy.sent = end;
  }
}

void Promoter::NoteInRamLocked(BlockId id, Load& load) {
  load.is_in_ram = true;
  core_.ram.Pin(id);
}

void Promoter::TakeBackLocked(const Convoy& convoy, Work& work) {
  std::shared_ptr<PinState> ticket = convoy.ticket.lock();
  if (ticket == nullptr) return;
  ticket->TakeBack();
  work.taken_back.push_back(std::move(ticket));
}

void Promoter::LeaveBehindLocked(Load& load, Work& work) {
  const std::shared_ptr<Convoy> convoy = std::move(load.convoy);
  if (convoy == nullptr) return;
  convoy->blocks[load.place] = kNoBlock;
  if (convoy->verified.Raise(load.place, convoy->block_bytes)) SendLocked(*convoy, work);
}

void Promoter::FinishPart(const std::vector<ToGpu>& copies, const absl::Status& status) {
  const absl::Time ended = absl::Now();
  Work work;
  {
    absl::MutexLock lock(&core_.mu);
    ++ending_;
    if (!status.ok()) core_.CloseGpu();
    for (const ToGpu& copy : copies) {
      core_.to_device_rates.End(copy.piece.bytes, status.ok(), ended);
      Load& load = loads_.at(copy.id);
      load.copy_failed = load.copy_failed || !status.ok();
      if (--load.copies == 0) GoOnByLayerLocked(copy.id, work);
    }
    PumpLocked(work);
    core_.NoteChange();
  }
  GoOn(std::move(work));
}

void Promoter::GoOnByLayerLocked(BlockId id, Work& work) {
  Load& load = loads_.at(id);
  if (const auto status = std::exchange(load.read_end, std::nullopt); status.has_value()) {
    return EndReadLocked(id, *status, work);
  }
  const bool is_over = load.copy_failed || load.convoy->sent == load.convoy->block_bytes;
  if (!load.is_in_ram || !is_over) return;
  const bool ok = !load.copy_failed;
  if (ok) core_.state.counters.load_to_gpu.Add(absl::Now() - load.convoy->began);
  LeaveBehindLocked(load, work);
  EndToGpuLocked(id, ok, work);
}

void Promoter::NoteProgress(BlockId id, uint64_t bytes) {
  Work work;
  {
    absl::MutexLock lock(&core_.mu);
    Load& load = loads_.at(id);
    load.arrived_bytes = bytes;
    if (load.convoy != nullptr && load.convoy->verified.Raise(load.place, bytes)) {
      SendLocked(*load.convoy, work);
    }
    for (const Waiter& waiter : load.waiters) {
      if (waiter.entry < waiter.pending->end) {
        NoteArrivedLocked(*waiter.pending, waiter.entry, bytes);
      }
    }
  }
  Do(std::move(work));
}

void Promoter::NoteArrivedLocked(Pending& pending, size_t entry, uint64_t bytes) {
  if (!pending.arriving.has_value() || !pending.arriving->Raise(entry, bytes)) return;
  const uint64_t least = pending.arriving->least();
  // That all is there, the end of the ticket says.
  if (least < pending.payload_bytes) pending.state->NoteArrived(0, least, Moment{});
}

void Promoter::TellAddressesLocked(Pending& pending) {
  if (!pending.is_by_layer() || pending.next < pending.entries.size()) return;
  std::vector<const std::byte*> addresses;
  for (const Entry& entry : pending.entries) {
    const auto load = loads_.find(entry.id);
    if (pending.tier == Tier::kGpu) {
      addresses.push_back(load == loads_.end()
                              ? core_.GpuBytes(entry.id).data()
                              : core_.state.gpu.pool.SlotMemory(load->second.gpu_slot).data());
    } else {
      addresses.push_back(load == loads_.end()
                              ? core_.RamBytes(entry.id).data()
                              : core_.state.pool.SlotMemory(load->second.slot).data());
    }
  }
  pending.state->TellAddresses(std::move(addresses));
}

}  // namespace reprise::cachestore
