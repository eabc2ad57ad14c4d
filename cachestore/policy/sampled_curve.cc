#include "cachestore/policy/sampled_curve.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <queue>
#include <utility>

#include "cachestore/base/check.h"

namespace reprise::cachestore {
namespace {

// Places in the stack for each sample: so seldom it is compacted.
constexpr size_t kPlacesPerSample = 4;
// Keys that are compared in one go.
constexpr size_t kPieceKeys = 64;
// Uses until what is watched anew counts, so that the stack has seen what there is.
constexpr size_t kLeastPushed = 64;
constexpr size_t kPushedPerSample = 8;
// A place in the order behind all others.
constexpr uint64_t kNotKnownYet = ~uint64_t{0};
// Samples that are few: more are watched than by the full rate.
constexpr size_t kFewSamples = 2048;

}  // namespace

SampledCurve::SampledCurve(size_t max_samples, PlaceInOrder place_of)
    : max_samples_(max_samples),
      place_of_(std::move(place_of)),
      counted_(static_cast<uint64_t>(std::ldexp(kFirstRate, 64))),
      watched_(counted_),
      sums_(kPlacesPerSample * max_samples) {
  CHECK(max_samples > 0);
  at_place_.reserve(sums_.size());
}

void SampledCurve::Find(const BlockRun& run) {
  found_.clear();
  // Without a branch a key, which would be most of what this costs. The store's tables go by the
  // other half of a key.
  uint32_t piece[kPieceKeys];
  for (size_t begin = 0; begin < run.keys.size(); begin += kPieceKeys) {
    const size_t end = std::min(begin + kPieceKeys, run.keys.size());
    size_t num_found = 0;
    for (size_t i = begin; i < end; ++i) {
      piece[num_found] = static_cast<uint32_t>(i);
      num_found += run.keys[i].hi < watched_ ? 1 : 0;
    }
    found_.insert(found_.end(), piece, piece + num_found);
  }
  if (found_.size() <= max_samples_) return;
  HalveRate();
  Find(run);
}

SampledCurve::Group& SampledCurve::GroupOf(uint32_t number) {
  if (number >= groups_.size()) groups_.resize(size_t{number} + 1);
  Group& group = groups_[number];
  if (group.weighted_hits.empty()) {
    for (Steps* steps : {&group.first_blocks.hits, &group.others.hits, &group.weighted_hits}) {
      steps->resize(kNumSteps);
    }
  }
  return group;
}

size_t SampledCurve::StepOf(const Sample& sample) const {
  const double above = static_cast<double>(BytesFrom(sample.place + 1)) / rate_;
  const double octaves = std::log2(above + static_cast<double>(sample.bytes)) - kFirstOctave;
  const int step = static_cast<int>(std::ceil(octaves * kStepsPerOctave));
  return static_cast<size_t>(std::clamp(step, 0, kNumSteps - 1));
}

void SampledCurve::OnLookup(const BlockRun& run) {
  if (run.keys.empty()) return;
  Find(run);
  Group& group = GroupOf(run.group);
  const auto block_tokens = static_cast<double>(run.block_tokens);
  group.first_blocks.tokens += block_tokens;
  group.others.tokens += block_tokens * static_cast<double>(run.keys.size() - 1);
  const double tokens = block_tokens / rate_;
  // All are looked for before any is used anew.
  for (const uint32_t i : found_) {
    if (!Counts(run.keys[i])) continue;
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

void SampledCurve::OnStore(const BlockRun& run) {
  Find(run);
  if (!found_.empty()) Push(run);
}

void SampledCurve::Push(const BlockRun& run) {
  if (at_place_.size() + found_.size() > sums_.size()) {
    if (place_of_ == nullptr) {
      Restack(Standing());
    } else {
      Order();
    }
  }
  for (auto i = found_.rbegin(); i != found_.rend(); ++i) {
    const BlockKey& key = run.keys[*i];
    const auto [it, is_new] = by_key_.try_emplace(key.lo, static_cast<uint32_t>(samples_.size()));
    if (is_new) {
      samples_.push_back({.key = key, .bytes = run.block_bytes});
    } else {
      AddAt(samples_[it->second].place, -CountedBytes(samples_[it->second]));
    }
    Sample& sample = samples_[it->second];
    sample.place = static_cast<uint32_t>(at_place_.size());
    at_place_.push_back(it->second);
    AddAt(sample.place, CountedBytes(sample));
  }
  num_pushed_ += found_.size();
  while (samples_.size() > MostSamples()) {
    Restack(Standing());
    // With little room left the next ones would be too many again.
    if (samples_.size() > MostSamples() - MostSamples() / 8) HalveRate();
  }
  DoubleRateIfFew();
}

size_t SampledCurve::MostSamples() const {
  return rate_ > kFullRate ? std::min(kFewSamples, max_samples_) : max_samples_;
}

int64_t SampledCurve::BytesFrom(uint32_t place) const {
  int64_t below = 0;
  for (size_t i = place; i > 0; i &= i - 1) below += sums_[i - 1];
  return bytes_ - below;
}

void SampledCurve::AddAt(uint32_t place, int64_t bytes) {
  bytes_ += bytes;
  for (size_t i = size_t{place} + 1; i <= sums_.size(); i += i & (~i + 1)) sums_[i - 1] += bytes;
}

size_t SampledCurve::Order() {
  if (place_of_ == nullptr || first_unordered_ == at_place_.size()) return 0;
  const size_t looked_at = samples_.size();
  for (Sample& sample : samples_) {
    const std::optional<uint64_t> order = place_of_(sample.key);
    const bool is_new = sample.place >= first_unordered_;
    // What was looked up just now may not be stored yet: it has until the next time.
    if (order.has_value() || is_new) {
      sample.order = order.value_or(kNotKnownYet);
    } else if (sample.order == kNotKnownYet) {
      sample.order = 0;
    }
  }
  // A cache that reached down to some place has the best of what it had and of what was used since.
  using Candidate = std::pair<uint64_t, uint32_t>;  // order, -> samples_
  std::priority_queue<Candidate> candidates;
  const auto stands_at = [this](size_t place) { return samples_[at_place_[place]].place == place; };
  for (size_t place = first_unordered_; place < at_place_.size(); ++place) {
    if (stands_at(place)) candidates.emplace(samples_[at_place_[place]].order, at_place_[place]);
  }
  Stack stack;
  stack.reserve(samples_.size());
  const auto take_best = [&] {
    if (candidates.empty()) return;
    stack.push_back(candidates.top().second);
    candidates.pop();
  };
  for (size_t place = first_unordered_; place-- > 0;) {
    if (stands_at(place)) candidates.emplace(samples_[at_place_[place]].order, at_place_[place]);
    take_best();
  }
  while (!candidates.empty()) take_best();
  std::reverse(stack.begin(), stack.end());
  Restack(std::move(stack));
  first_unordered_ = at_place_.size();
  return looked_at;
}

SampledCurve::Stack SampledCurve::Standing() const {
  Stack stack;
  stack.reserve(samples_.size());
  for (uint32_t place = 0; place < at_place_.size(); ++place) {
    if (samples_[at_place_[place]].place == place) stack.push_back(at_place_[place]);
  }
  return stack;
}

void SampledCurve::Restack(Stack stack) {
  // Of what is watched, as much as is in reach.
  const double reach = reach_bytes_ * std::ldexp(static_cast<double>(watched_), -64);
  double above = 0;
  size_t begin = stack.size();
  for (; begin > 0 && above < reach; --begin) {
    above += static_cast<double>(samples_[stack[begin - 1]].bytes);
  }
  stack.erase(stack.begin(), stack.begin() + static_cast<int64_t>(begin));
  first_unordered_ =
      static_cast<size_t>(std::count_if(stack.begin(), stack.end(), [this](uint32_t i) {
        return samples_[i].place < first_unordered_;
      }));
  if (stack.size() < samples_.size()) {
    std::vector<Sample> kept;
    kept.reserve(stack.size());
    by_key_.clear();
    for (const uint32_t i : stack) {
      by_key_.emplace(samples_[i].key.lo, static_cast<uint32_t>(kept.size()));
      kept.push_back(samples_[i]);
    }
    samples_ = std::move(kept);
    std::iota(stack.begin(), stack.end(), 0);
  }
  at_place_.assign(stack.begin(), stack.end());
  std::fill(sums_.begin(), sums_.end(), 0);
  bytes_ = 0;
  for (uint32_t place = 0; place < at_place_.size(); ++place) {
    samples_[at_place_[place]].place = place;
    AddAt(place, CountedBytes(samples_[at_place_[place]]));
  }
}

void SampledCurve::HalveRate() {
  watched_ = counted_ = std::min(watched_, counted_) / 2;
  rate_ /= 2;
  Stack stack = Standing();
  std::erase_if(stack, [this](uint32_t i) { return samples_[i].key.hi >= watched_; });
  Restack(std::move(stack));
}

void SampledCurve::DoubleRateIfFew() {
  const bool is_warming = watched_ > counted_;
  if (num_pushed_ < kLeastPushed + samples_.size() * (is_warming ? kPushedPerSample : 1)) return;
  num_pushed_ = 0;
  if (is_warming) {
    counted_ = watched_;
    rate_ *= 2;
  }
  Restack(Standing());
  const size_t most = rate_ < kFullRate ? max_samples_ : std::min(kFewSamples, max_samples_);
  if (rate_ < kFirstRate && samples_.size() < most / 4) watched_ = 2 * counted_;
}

void SampledCurve::Age(double factor) {
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

double SampledCurve::LookedUpTokens(uint32_t group) const {
  if (group >= groups_.size()) return 0;
  return groups_[group].first_blocks.tokens + groups_[group].others.tokens;
}

double SampledCurve::UpTo(const Steps& steps, double capacity_bytes) {
  const double at = (std::log2(capacity_bytes) - kFirstOctave) * kStepsPerOctave;
  if (steps.empty() || !(at >= 0)) return 0;
  const auto whole = std::min(static_cast<size_t>(at), steps.size() - 1);
  // The tokens of a step need more than the step before it has.
  double tokens =
      std::accumulate(steps.begin(), steps.begin() + static_cast<int64_t>(whole) + 1, 0.0);
  if (whole + 1 < steps.size()) tokens += (at - static_cast<double>(whole)) * steps[whole + 1];
  return tokens;
}

double SampledCurve::HitTokens(uint32_t number, double capacity_bytes) const {
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

size_t SampledCurve::memory_bytes() const {
  return sums_.capacity() * sizeof(int64_t) + at_place_.capacity() * sizeof(uint32_t) +
         samples_.capacity() * sizeof(Sample) + found_.capacity() * sizeof(uint32_t) +
         by_key_.capacity() * (sizeof(std::pair<uint64_t, uint32_t>) + 1) +
         groups_.capacity() * (sizeof(Group) + 3 * kNumSteps * sizeof(float));
}

}  // namespace reprise::cachestore
