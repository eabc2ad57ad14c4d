// OrderContest: which of two caches serves the same requests better, the model's or LRU's, by their
// hits of late. LRU wins when it leads by more than chance gives it, and loses when it leads no
// more. Thread-compatible.
#pragma once

#include <cstddef>

namespace reprise::cachestore {

// A request, and the blocks of it that each cache had.
struct ContestRound {
  size_t lookups = 0;
  size_t model_hits = 0;
  size_t lru_hits = 0;
};

class OrderContest {
 public:
  // The caches hold `room` blocks: lookups are forgotten as several times as many come.
  void Add(const ContestRound& round, size_t room);

  bool lru_is_better() const { return lru_is_better_; }

 private:
  // Of what was not forgotten yet:
  double lookups_ = 0;
  double lead_ = 0;      // hits of the model's above LRU's
  double variance_ = 0;  // of that, if it were chance
  bool lru_is_better_ = false;
};

}  // namespace reprise::cachestore
