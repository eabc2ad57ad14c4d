// ReuseModel: learns while it serves when blocks are asked for again, and says what keeping them is
// worth.
//
// What one request used together is observed as one use, whether its blocks are still in the store
// or not. Its age goes through the intervals of AgeScale; in each one it is used again, or it is
// not, or it is forgotten (and then says nothing about later intervals). So this is a hazard in
// discrete time, a logistic regression for each interval on what was known when the use began:
//
//     logit P(used again in interval j | not before) =
//         base[role][j] + sum over features f of weight[kind of role][band of j][f][bin of f]
//
// Every feature is a number of a few bins, so a weight is that of one bin, and a step of learning
// touches one of each feature. Steps are AdaGrad's (Duchi, Hazan, Singer 2011). There is no random
// number in it: the same uses in the same order give the same model. Thread-compatible.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "cachestore/policy/age_scale.h"

namespace reprise::cachestore {

// What blocks were to the request that used them last.
enum class UseRole : uint8_t {
  kNew,          // the prompt's blocks that no request had used before
  kPartialTail,  // its last one, if that is not full
  kOutput,       // what was generated after it
  kLineage,      // used before by earlier turns of the same conversation only
  kShared,       // used before by other conversations too
  kSuperseded,   // left behind: the conversation went on from an earlier block
  kClosed,       // the conversation is over
  kRecovered,    // found on disk at the start
};
inline constexpr int kNumUseRoles = 8;

// What was known of a request, as bins.
inline constexpr int kNumFeatures = 10;
inline constexpr int kNumBins = 16;
using Features = std::array<uint8_t, kNumFeatures>;

class ReuseModel {
 public:
  ReuseModel();

  // Learns from `weight` uses that reached the interval: they were used again in it or not.
  void Observe(UseRole role, const Features& features, int interval, bool used_again, float weight);

  // The worth of a block's memory: expected hits per second that it is held, for the best time to
  // give up (the Gittins index of a block that is kept until it is used or given up). Positive.
  double Index(UseRole role, const Features& features, int interval) const;

  // The probability that a block is used again in the interval or later, up to the oldest one that
  // a use in the role has reached. Before one has reached this one, or three minutes, as a model
  // has it that has learned nothing of what comes: high.
  double ReuseProbability(UseRole role, const Features& features, int interval) const;

  // The learned state, for Restore of the same version; of another one, kInvalidArgument says so
  // and nothing changes.
  std::string Serialize() const;
  absl::Status Restore(absl::string_view bytes);

 private:
  static constexpr int kIntervalsPerBand = 4;
  static constexpr int kNumBands = AgeScale::kNumIntervals / kIntervalsPerBand;
  static constexpr int kNumKinds = 3;  // of roles, which share the weights of features

  // A parameter and the sum of its squared gradients.
  struct Parameter {
    float value = 0;
    float squares = 1e-6f;
    void Step(float gradient, float rate);
  };
  using Weights = std::array<std::array<Parameter, kNumBins>, kNumFeatures>;
  struct State {
    std::array<std::array<Parameter, AgeScale::kNumIntervals>, kNumUseRoles> base;
    std::array<std::array<Weights, kNumBands>, kNumKinds> weights;
  };

  // Of one use, in one interval after the other.
  class Hazards;

  // What the features add in a band; the same for all intervals of it.
  static float SumOf(const Weights& weights, const Features& features);

  AgeScale ages_;
  State state_;
};

}  // namespace reprise::cachestore
