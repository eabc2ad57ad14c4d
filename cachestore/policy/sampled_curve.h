// SampledCurve: the miss ratio curve of an order of eviction, from a sample of the blocks.
//
// An order that says which of two blocks goes first, whatever the size of the cache, makes a stack
// (Mattson, Gecsei, Slutz, Traiger, "Evaluation Techniques for Storage Hierarchies", 1970): what a
// cache of some size has is what stands at the top, and a lookup is a hit in every cache that
// reaches down to its block. With LRU what is used goes on top and the rest moves down. With
// another order the blocks trade places as they move down: of what a cache gives up and what is
// below, the block that goes last comes next. That is done to all that were used in one go, by
// Order, when the owner has time for it.
//
// Only those blocks are watched whose key, a hash, is below a limit (Waldspurger et al., "Efficient
// MRC Construction with SHARDS", FAST 2015): most keys of a lookup cost one comparison. When too
// many are, the limit is halved; when few are left it is doubled, and blocks that are watched anew
// count once the stack has had the time to know them. What no cache of interest has (Reach) is
// forgotten.
//
// Blocks that are asked for very often are few, so their lookups may be missing among the sampled
// ones, or be too many there. How many, is known: all lookups are counted. First blocks of prompts,
// which may belong to all of them, are counted apart; what is missing of their lookups counts as
// hits in any cache (the paper's adjustment), what is missing of others as hits where those of the
// often sampled blocks are (a regression on how often a block was looked up).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "cachestore/policy/miss_ratio_curve.h"

namespace reprise::cachestore {

class SampledCurve : public MissRatioCurve {
 public:
  // Of all keys the share kFullRate is watched, or less where that would be more than
  // `max_samples` blocks, or as much as kFirstRate while that is few. Without `place_of` the order
  // is LRU's, and Order has nothing to do.
  explicit SampledCurve(size_t max_samples, PlaceInOrder place_of = nullptr);

  void OnLookup(const BlockRun& run) override;
  void OnStore(const BlockRun& run) override;
  size_t Order() override;
  void Reach(double capacity_bytes) override { reach_bytes_ = capacity_bytes; }
  void Age(double factor) override;
  double LookedUpTokens(uint32_t group) const override;
  double HitTokens(uint32_t group, double capacity_bytes) const override;
  double sampling_rate() const override { return rate_; }
  size_t memory_bytes() const override;

  static constexpr double kFirstRate = 1.0 / 8;
  static constexpr double kFullRate = 1.0 / 64;
  // What memory_bytes() is at most, about: for each sample and each group.
  static constexpr size_t kSampleBytes = 136;
  static constexpr size_t kGroupBytes = 4200;

 private:
  // Capacities in steps of an eighth of an octave, from 512 bytes to a pebibyte.
  static constexpr int kStepsPerOctave = 8;
  static constexpr int kFirstOctave = 9;
  static constexpr int kNumSteps = 41 * kStepsPerOctave;
  // Tokens by the smallest cache, in steps, that has them; those of no cache are in none.
  using Steps = std::vector<float>;
  struct Lookups {
    double tokens = 0;   // of all lookups
    double sampled = 0;  // the same, told from the sampled ones
    Steps hits;          // of these
  };
  struct Group {
    Lookups first_blocks;
    Lookups others;
    // Of the others, each weighted by how often its block was looked up.
    double weight = 0;
    Steps weighted_hits;
  };
  struct Sample {
    BlockKey key;  // `hi`, a hash, is below watched_
    uint64_t bytes = 0;
    uint64_t order = 0;  // its place in the order, as it was known last
    uint32_t place = 0;  // in the stack, the highest one on top
    uint32_t lookups = 0;
  };
  using Stack = std::vector<uint32_t>;  // -> samples_, the lowest place first

  // The blocks of `run` that are watched, by their place in it, into found_.
  void Find(const BlockRun& run);
  Group& GroupOf(uint32_t group);
  bool Counts(const BlockKey& key) const { return key.hi < counted_; }
  int64_t CountedBytes(const Sample& sample) const {
    return Counts(sample.key) ? static_cast<int64_t>(sample.bytes) : 0;
  }
  // The step of the smallest cache in which `sample` is a hit now.
  size_t StepOf(const Sample& sample) const;
  // Puts the blocks of found_ on top of the stack, root topmost.
  void Push(const BlockRun& run);
  // Counted bytes of the samples at this place and above.
  int64_t BytesFrom(uint32_t place) const;
  void AddAt(uint32_t place, int64_t bytes);
  // The samples as they stand.
  Stack Standing() const;
  // Has the samples stand like this; those that are out of reach, and what is not in `stack`, are
  // forgotten.
  void Restack(Stack stack);
  size_t MostSamples() const;
  void HalveRate();
  void DoubleRateIfFew();
  // Tokens of `steps` up to a capacity.
  static double UpTo(const Steps& steps, double capacity_bytes);

  const size_t max_samples_;
  const PlaceInOrder place_of_;
  double reach_bytes_ = std::numeric_limits<double>::infinity();
  double rate_ = kFirstRate;  // of the keys that count
  uint64_t counted_;          // keys below it count
  uint64_t watched_;          // and those below this are in the stack; at least counted_
  absl::flat_hash_map<uint64_t, uint32_t> by_key_;  // -> samples_
  std::vector<Sample> samples_;
  Stack at_place_;              // a sample may be in a higher place since
  std::vector<int64_t> sums_;   // Fenwick's tree of counted bytes by place
  int64_t bytes_ = 0;           // of all samples that count
  size_t first_unordered_ = 0;  // from this place on, what was used since Order
  size_t num_pushed_ = 0;       // since the rate was looked at
  std::vector<Group> groups_;
  std::vector<uint32_t> found_;  // kept for its memory
};

}  // namespace reprise::cachestore
