#include "cachestore/policy/order_contest.h"

#include <algorithm>
#include <cmath>

namespace reprise::cachestore {
namespace {

// A lookup counts for half after about so many more, for each block of room; and at least.
constexpr double kWindowRooms = 8;
constexpr double kMinWindow = 512;
// What LRU must lead by: in standard deviations, and in share of the lookups.
constexpr double kDeviations = 3;
constexpr double kShare = 0.01;

}  // namespace

void OrderContest::Add(const ContestRound& round, size_t room) {
  const double window = std::max(kMinWindow, kWindowRooms * static_cast<double>(room));
  const double kept = std::exp2(-static_cast<double>(round.lookups) / window);
  const double lead = static_cast<double>(round.model_hits) - static_cast<double>(round.lru_hits);
  lookups_ = kept * lookups_ + static_cast<double>(round.lookups);
  lead_ = kept * lead_ + lead;
  variance_ = kept * variance_ + lead * lead;
  if (lru_is_better_) {
    lru_is_better_ = lead_ < 0;
  } else {
    lru_is_better_ = -lead_ > kDeviations * std::sqrt(variance_) + kShare * lookups_;
  }
}

}  // namespace reprise::cachestore
