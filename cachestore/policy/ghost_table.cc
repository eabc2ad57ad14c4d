#include "cachestore/policy/ghost_table.h"

#include "cachestore/base/check.h"

namespace reprise::cachestore {

Ghost* GhostTable::Find(const BlockKey& key) {
  const auto it = serials_.find(ShortOf(key));
  return it == serials_.end() ? nullptr : &At(*it).ghost;
}

GhostTable::Forgotten GhostTable::Add(const BlockKey& key, const Ghost& ghost) {
  CHECK(ghost.group != kNoGroup);
  const auto serial = static_cast<uint32_t>(first_serial_ + places_.size());
  places_.push_back({ShortOf(key), ghost});
  std::optional<Ghost> before;
  if (!serials_.insert(serial).second) {
    before = Take(key);
    serials_.insert(serial);
  }
  Forgotten forgotten;
  // Places whose ghosts were taken out go as well, so that there are not more of them.
  while (places_.size() > capacity_ && forgotten.size() < 2) {
    const Place& oldest = places_.front();
    if (oldest.ghost.group != kNoGroup) {
      forgotten.push_back(oldest.ghost);
      serials_.erase(serials_.find(oldest.key));
    }
    places_.pop_front();
    ++first_serial_;
  }
  if (before.has_value()) forgotten.push_back(*before);
  return forgotten;
}

std::optional<Ghost> GhostTable::Take(const BlockKey& key) {
  const auto it = serials_.find(ShortOf(key));
  if (it == serials_.end()) return std::nullopt;
  Ghost& place = At(*it).ghost;
  const Ghost ghost = place;
  place.group = kNoGroup;
  serials_.erase(it);
  return ghost;
}

}  // namespace reprise::cachestore
