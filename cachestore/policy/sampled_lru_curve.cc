#include "cachestore/policy/sampled_lru_curve.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "cachestore/base/check.h"

namespace reprise::cachestore {
namespace {

// Places in the stack for each sample: so seldom it is compacted.
constexpr size_t kPlacesPerSample = 4;
// Keys that are compared in one go.
constexpr size_t kPieceKeys = 64;
// Samples that are few: more are watched than by the full rate.
constexpr size_t kFewSamples = 2048;

}  // namespace

SampledLruCurve::SampledLruCurve(size_t max_samples)
    : max_samples_(max_samples),
      limit_(static_cast<uint64_t>(std::ldexp(kFirstRate, 64))),
      sums_(kPlacesPerSample * max_samples) {
  CHECK(max_samples > 0);
  at_place_.reserve(sums_.size());
}

void SampledLruCurve::Find(const BlockRun& run) {
  found_.clear();
  // Without a branch a key, which would be most of what this costs. The store's tables go by the
  // other half of a key.
  uint32_t piece[kPieceKeys];
  for (size_t begin = 0; begin < run.keys.size(); begin += kPieceKeys) {
    const size_t end = std::min(begin + kPieceKeys, run.keys.size());
    size_t num_found = 0;
    for (size_t i = begin; i < end; ++i) {
      piece[num_found] = static_cast<uint32_t>(i);
      num_found += run.keys[i].hi < limit_ ? 1 : 0;
    }
    found_.insert(found_.end(), piece, piece + num_found);
  }
  if (found_.size() <= max_samples_) return;
  HalveRate();
  Find(run);
}

SampledLruCurve::Group& SampledLruCurve::GroupOf(uint32_t number) {
  if (number >= groups_.size()) groups_.resize(size_t{number} + 1);
  Group& group = groups_[number];
  if (group.weighted_hits.empty()) {
    for (Steps* steps : {&group.first_blocks.hits, &group.others.hits, &group.weighted_hits}) {
      steps->resize(kNumSteps);
    }
  }
  return group;
}

size_t SampledLruCurve::StepOf(const Sample& sample) const {
  const double above = static_cast<double>(BytesFrom(sample.place + 1)) / rate_;
  const double octaves = std::log2(above + static_cast<double>(sample.bytes)) - kFirstOctave;
  const int step = static_cast<int>(std::ceil(octaves * kStepsPerOctave));
  return static_cast<size_t>(std::clamp(step, 0, kNumSteps - 1));
}

void SampledLruCurve::OnLookup(const BlockRun& run) {
  if (run.keys.empty()) return;
  Find(run);
  Group& group = GroupOf(run.group);
  const auto block_tokens = static_cast<double>(run.block_tokens);
  group.first_blocks.tokens += block_tokens;
  group.others.tokens += block_tokens * static_cast<double>(run.keys.size() - 1);
  const double tokens = block_tokens / rate_;
  // All are looked for before any is used anew.
  for (const uint32_t i : found_) {
    Lookups& lookups = i == 0 ? group.first_blocks : group.others;
    lookups.sampled += tokens;
    const auto it = by_key_.find(run.keys[i].lo);
    Sample* const sample = it == by_key_.end() ? nullptr : &samples_[it->second];
    const double weight = sample == nullptr ? tokens : tokens * (1 + ++sample->lookups);
    if (i > 0) group.weight += weight;
    if (sample == nullptr) continue;
    const size_t step = StepOf(*sample);
    lookups.hits[step] += static_cast<float>(tokens);
    if (i > 0) group.weighted_hits[step] += static_cast<float>(weight);
  }
  if (!found_.empty()) Push(run);
}

void SampledLruCurve::OnStore(const BlockRun& run) {
  Find(run);
  if (!found_.empty()) Push(run);
}

void SampledLruCurve::Push(const BlockRun& run) {
  if (at_place_.size() + found_.size() > sums_.size()) Compact();
  for (auto i = found_.rbegin(); i != found_.rend(); ++i) {
    const BlockKey& key = run.keys[*i];
    const auto [it, is_new] = by_key_.try_emplace(key.lo, static_cast<uint32_t>(samples_.size()));
    if (is_new) {
      samples_.push_back({.key = key.lo, .hash = key.hi, .bytes = run.block_bytes});
    } else {
      AddAt(samples_[it->second].place, -static_cast<int64_t>(samples_[it->second].bytes));
    }
    Sample& sample = samples_[it->second];
    sample.place = static_cast<uint32_t>(at_place_.size());
    at_place_.push_back(it->second);
    AddAt(sample.place, static_cast<int64_t>(sample.bytes));
  }
  const size_t few = std::min(kFewSamples, max_samples_);
  while (samples_.size() > (rate_ > kFullRate ? few : max_samples_)) HalveRate();
}

int64_t SampledLruCurve::BytesFrom(uint32_t place) const {
  int64_t below = 0;
  for (size_t i = place; i > 0; i &= i - 1) below += sums_[i - 1];
  return bytes_ - below;
}

void SampledLruCurve::AddAt(uint32_t place, int64_t bytes) {
  bytes_ += bytes;
  for (size_t i = size_t{place} + 1; i <= sums_.size(); i += i & (~i + 1)) sums_[i - 1] += bytes;
}

void SampledLruCurve::Compact() {
  std::vector<uint32_t> order;
  order.reserve(samples_.size());
  for (uint32_t place = 0; place < at_place_.size(); ++place) {
    if (samples_[at_place_[place]].place == place) order.push_back(at_place_[place]);
  }
  at_place_.clear();
  std::fill(sums_.begin(), sums_.end(), 0);
  bytes_ = 0;
  for (const uint32_t i : order) {
    samples_[i].place = static_cast<uint32_t>(at_place_.size());
    at_place_.push_back(i);
    AddAt(samples_[i].place, static_cast<int64_t>(samples_[i].bytes));
  }
}

void SampledLruCurve::HalveRate() {
  rate_ /= 2;
  limit_ /= 2;
  Compact();
  std::vector<Sample> kept;
  by_key_.clear();
  for (const uint32_t i : at_place_) {
    if (samples_[i].hash >= limit_) continue;
    by_key_.emplace(samples_[i].key, static_cast<uint32_t>(kept.size()));
    kept.push_back(samples_[i]);
    kept.back().place = static_cast<uint32_t>(kept.size() - 1);
  }
  samples_ = std::move(kept);
  at_place_.resize(samples_.size());
  std::iota(at_place_.begin(), at_place_.end(), 0);
  Compact();
}

void SampledLruCurve::Age(double factor) {
  const auto scale = [factor](Steps& steps) {
    for (float& tokens : steps) tokens *= static_cast<float>(factor);
  };
  for (Group& group : groups_) {
    for (Lookups* lookups : {&group.first_blocks, &group.others}) {
      lookups->tokens *= factor;
      lookups->sampled *= factor;
      scale(lookups->hits);
    }
    group.weight *= factor;
    scale(group.weighted_hits);
  }
}

double SampledLruCurve::LookedUpTokens(uint32_t group) const {
  if (group >= groups_.size()) return 0;
  return groups_[group].first_blocks.tokens + groups_[group].others.tokens;
}

double SampledLruCurve::UpTo(const Steps& steps, double capacity_bytes) {
  const double at = (std::log2(capacity_bytes) - kFirstOctave) * kStepsPerOctave;
  if (steps.empty() || !(at >= 0)) return 0;
  const auto whole = std::min(static_cast<size_t>(at), steps.size() - 1);
  // The tokens of a step need more than the step before it has.
  double tokens =
      std::accumulate(steps.begin(), steps.begin() + static_cast<int64_t>(whole) + 1, 0.0);
  if (whole + 1 < steps.size()) tokens += (at - static_cast<double>(whole)) * steps[whole + 1];
  return tokens;
}

double SampledLruCurve::HitTokens(uint32_t number, double capacity_bytes) const {
  if (number >= groups_.size() || !(capacity_bytes > 0)) return 0;
  const Group& group = groups_[number];
  const Lookups& first = group.first_blocks;
  const Lookups& others = group.others;
  const double like =
      group.weight > 0 ? UpTo(group.weighted_hits, capacity_bytes) / group.weight : 0;
  const double first_hits = UpTo(first.hits, capacity_bytes) + first.tokens - first.sampled;
  const double other_hits =
      UpTo(others.hits, capacity_bytes) + (others.tokens - others.sampled) * like;
  return std::clamp(first_hits, 0.0, first.tokens) + std::clamp(other_hits, 0.0, others.tokens);
}

size_t SampledLruCurve::memory_bytes() const {
  return sums_.capacity() * sizeof(int64_t) + at_place_.capacity() * sizeof(uint32_t) +
         samples_.capacity() * sizeof(Sample) + found_.capacity() * sizeof(uint32_t) +
         by_key_.capacity() * (sizeof(std::pair<uint64_t, uint32_t>) + 1) +
         groups_.capacity() * (sizeof(Group) + 3 * kNumSteps * sizeof(float));
}

}  // namespace reprise::cachestore
