#include "cachestore/policy/ghost_table.h"

#include "cachestore/base/check.h"

namespace reprise::cachestore {

Ghost* GhostTable::Find(const BlockKey& key) {
  const auto it = ghosts_.find(ShortOf(key));
  return it == ghosts_.end() ? nullptr : &it->second.ghost;
}

absl::InlinedVector<Ghost, 2> GhostTable::Add(const BlockKey& key, const Ghost& ghost) {
  absl::InlinedVector<Ghost, 2> forgotten;
  // Places whose ghosts were taken out go as well, so that there are not more of them.
  while (order_.size() >= capacity_ && forgotten.size() < 2) {
    const auto it = ghosts_.find(order_.front().key);
    const bool is_there = it != ghosts_.end() && it->second.serial == order_.front().serial;
    order_.pop_front();
    if (!is_there) continue;
    forgotten.push_back(it->second.ghost);
    ghosts_.erase(it);
  }
  CHECK(ghosts_.emplace(ShortOf(key), Entry{ghost, next_serial_}).second);
  order_.push_back({ShortOf(key), next_serial_++});
  return forgotten;
}

std::optional<Ghost> GhostTable::Take(const BlockKey& key) {
  const auto it = ghosts_.find(ShortOf(key));
  if (it == ghosts_.end()) return std::nullopt;
  const Ghost ghost = it->second.ghost;
  ghosts_.erase(it);
  return ghost;
}

}  // namespace reprise::cachestore
