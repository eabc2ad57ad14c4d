// IdTable: things by ids, small numbers that are given again once a thing was removed. A thing
// never moves: memory grows by chunks, so that a table takes what it holds at its fullest and no
// more than a chunk besides. Thread-compatible.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace reprise::cachestore {

template <typename T>
class IdTable {
 public:
  // A new thing, T(), by the id that was removed last, if there is one; else by the next one, from
  // 0 on.
  uint32_t Add() {
    if (!removed_.empty()) {
      const uint32_t id = removed_.back();
      removed_.pop_back();
      (*this)[id] = T();
      return id;
    }
    if (num_ids_ % kChunkSize == 0) chunks_.push_back(std::make_unique<T[]>(kChunkSize));
    return num_ids_++;
  }
  // REQUIRES: it is there, and was not removed since it was given. It stays what it was until the
  // id is given again.
  void Remove(uint32_t id) { removed_.push_back(id); }

  T& operator[](uint32_t id) { return chunks_[id / kChunkSize][id % kChunkSize]; }
  const T& operator[](uint32_t id) const { return chunks_[id / kChunkSize][id % kChunkSize]; }

  // Of things that are there and that were removed: all ids are less.
  uint32_t num_ids() const { return num_ids_; }

 private:
  static constexpr uint32_t kChunkSize = 256;

  std::vector<std::unique_ptr<T[]>> chunks_;
  std::vector<uint32_t> removed_;
  uint32_t num_ids_ = 0;
};

}  // namespace reprise::cachestore
