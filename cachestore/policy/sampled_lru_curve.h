// SampledLruCurve: the curve of a cache that gives up the block whose last use is the longest ago,
// and of blocks used at once the deepest, as LruPolicy does.
//
// LRU is a stack: a lookup is a hit in every cache that is at least as large as the blocks used
// since the block's last use, itself included. Only those blocks are watched whose key, a hash, is
// below a limit (Waldspurger et al., "Efficient MRC Construction with SHARDS", FAST 2015): most
// keys of a lookup cost one comparison. When too many are, the limit is halved.
//
// Blocks that are asked for very often are few, so their lookups may be missing among the sampled
// ones, or be too many there. How many, is known: all lookups are counted. First blocks of prompts,
// which may belong to all of them, are counted apart; what is missing of their lookups counts as
// hits in any cache (the paper's adjustment), what is missing of others as hits where those of the
// often sampled blocks are (a regression on how often a block was looked up).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "cachestore/policy/miss_ratio_curve.h"

namespace reprise::cachestore {

class SampledLruCurve : public MissRatioCurve {
 public:
  // Of all keys the share kFullRate is watched, or less where that would be more than
  // `max_samples` blocks, or as much as kFirstRate while that is few.
  explicit SampledLruCurve(size_t max_samples);

  void OnLookup(const BlockRun& run) override;
  void OnStore(const BlockRun& run) override;
  void Age(double factor) override;
  double LookedUpTokens(uint32_t group) const override;
  double HitTokens(uint32_t group, double capacity_bytes) const override;
  double sampling_rate() const override { return rate_; }
  size_t memory_bytes() const override;

  static constexpr double kFirstRate = 1.0 / 8;
  static constexpr double kFullRate = 1.0 / 64;
  // What memory_bytes() is at most, about: for each sample and each group.
  static constexpr size_t kSampleBytes = 128;
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
    uint64_t key = 0;
    uint64_t hash = 0;  // below limit_
    uint64_t bytes = 0;
    uint32_t place = 0;  // in the stack, the highest one on top
    uint32_t lookups = 0;
  };

  // The blocks of `run` that are sampled, by their place in it, into found_.
  void Find(const BlockRun& run);
  Group& GroupOf(uint32_t group);
  // The step of the smallest cache in which `sample` is a hit now.
  size_t StepOf(const Sample& sample) const;
  // Puts the blocks of found_ on top of the stack, root topmost.
  void Push(const BlockRun& run);
  // Bytes of the samples at this place and above.
  int64_t BytesFrom(uint32_t place) const;
  void AddAt(uint32_t place, int64_t bytes);
  // Gives the samples the lowest places, in their order.
  void Compact();
  void HalveRate();
  // Tokens of `steps` up to a capacity.
  static double UpTo(const Steps& steps, double capacity_bytes);

  const size_t max_samples_;
  double rate_ = kFirstRate;
  uint64_t limit_;                                  // of hashes
  absl::flat_hash_map<uint64_t, uint32_t> by_key_;  // -> samples_
  std::vector<Sample> samples_;
  std::vector<uint32_t> at_place_;  // -> samples_, which may be in a higher place since
  std::vector<int64_t> sums_;       // Fenwick's tree of bytes by place
  int64_t bytes_ = 0;               // of all samples
  std::vector<Group> groups_;
  std::vector<uint32_t> found_;  // kept for its memory
};

}  // namespace reprise::cachestore
