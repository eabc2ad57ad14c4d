// Tickets whose blocks are loaded by layer: see promoter.h.
#include <utility>

#include "cachestore/store/promoter.h"

namespace reprise::cachestore {

bool Promoter::MayLoadByLayerLocked() const {
  // Pieces of a long prefix come before the last ones of a short one, so no two at a time.
  return loads_.empty() && tickets_.size() == 1;
}

void Promoter::LoadByLayerLocked(const std::shared_ptr<Pending>& pending, Work& work) {
  pending->arriving.emplace(pending->entries.size());
  for (size_t i = 0; i < pending->next; ++i) {
    NoteArrivedLocked(*pending, i, pending->payload_bytes);
  }
  NoRoom no_room;
  while (pending->next < pending->end && LoadNextLocked(pending, no_room, work)) {
    PinResidentLocked(*pending);
  }
}

void Promoter::NoteProgress(BlockId id, uint64_t bytes) {
  absl::MutexLock lock(&core_.mu);
  Load& load = loads_.at(id);
  load.arrived_bytes = bytes;
  for (const Waiter& waiter : load.waiters) {
    if (waiter.entry < waiter.pending->end) {
      NoteArrivedLocked(*waiter.pending, waiter.entry, bytes);
    }
  }
}

void Promoter::NoteArrivedLocked(Pending& pending, size_t entry, uint64_t bytes) {
  if (!pending.arriving.has_value() || !pending.arriving->Raise(entry, bytes)) return;
  const uint64_t least = pending.arriving->least();
  // That all is there, the end of the ticket says.
  if (least < pending.payload_bytes) pending.state->NoteArrived(least);
}

void Promoter::TellAddressesLocked(Pending& pending) {
  if (!pending.arriving.has_value() || pending.next < pending.entries.size()) return;
  std::vector<const std::byte*> addresses;
  for (const Entry& entry : pending.entries) {
    const auto load = loads_.find(entry.id);
    addresses.push_back(load == loads_.end()
                            ? core_.RamBytes(entry.id).data()
                            : core_.state.pool.SlotMemory(load->second.slot).data());
  }
  pending.state->TellAddresses(std::move(addresses));
}

}  // namespace reprise::cachestore
