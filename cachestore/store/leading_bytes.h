// LeadingBytes: how many leading bytes every block of a prefix has, while the blocks arrive piece
// by piece. Thread-compatible.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace reprise::cachestore {

class LeadingBytes {
 public:
  explicit LeadingBytes(size_t num_blocks) : bytes_(num_blocks), num_least_(num_blocks) {}

  // Block `block` has its first `bytes` bytes, if not more. Returns whether least() has grown; it
  // is looked for only when the last block that had so few has more.
  bool Raise(size_t block, uint64_t bytes) {
    if (bytes <= bytes_[block]) return false;
    const bool was_least = bytes_[block] == least_;
    bytes_[block] = bytes;
    if (!was_least || --num_least_ > 0) return false;
    least_ = *std::min_element(bytes_.begin(), bytes_.end());
    num_least_ = std::count(bytes_.begin(), bytes_.end(), least_);
    return true;
  }
  // What every block has; 0 of no blocks.
  uint64_t least() const { return least_; }

 private:
  std::vector<uint64_t> bytes_;  // of each block
  uint64_t least_ = 0;
  size_t num_least_;  // blocks that have no more
};

}  // namespace reprise::cachestore
