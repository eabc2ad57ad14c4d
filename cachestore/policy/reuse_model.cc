#include "cachestore/policy/reuse_model.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "absl/strings/str_cat.h"
#include "cachestore/base/check.h"

namespace reprise::cachestore {
namespace {

// Chosen on the first half of each trace, and on one trace for another: bench/README.md.
constexpr float kFeatureRate = 0.05f;
constexpr float kBaseRate = 0.2f;
// Neighbouring intervals learn with a base, this much.
constexpr float kNeighbourShare = 0.3f;
constexpr float kMinLogit = -9;
constexpr float kMaxLogit = 4;
// Before anything was seen; a block that was left behind comes back less often.
constexpr double kFirstHazard = 0.08;
constexpr double kFirstSupersededHazard = 0.002;
// Three minutes: who has seen less says nothing of what comes back later.
constexpr int kLeastSeen = 18;
// So few are left that what comes after changes nothing.
constexpr float kNegligible = 0.01f;

constexpr uint32_t kVersion = 1;

bool IsLeftBehind(UseRole role) { return role == UseRole::kSuperseded || role == UseRole::kClosed; }

int KindOf(UseRole role) {
  if (role == UseRole::kShared || role == UseRole::kRecovered) return 1;
  return IsLeftBehind(role) ? 2 : 0;
}

float Logit(double p) { return static_cast<float>(std::log(p / (1 - p))); }

// The logistic function at steps of 1/16, linear between them: a tenth of expf's time, and the same
// bits on every machine.
class Logistic {
 public:
  Logistic() {
    for (int i = 0; i <= kSteps; ++i) {
      values_[i] = static_cast<float>(1 / (1 + std::exp(-(kMinLogit + i / kPerUnit))));
    }
  }
  float operator()(float z) const {
    const float at = (std::clamp(z, kMinLogit, kMaxLogit) - kMinLogit) * kPerUnit;
    const int i = std::min(static_cast<int>(at), kSteps - 1);
    return values_[i] + (at - static_cast<float>(i)) * (values_[i + 1] - values_[i]);
  }

 private:
  static constexpr float kPerUnit = 16;
  static constexpr int kSteps = static_cast<int>((kMaxLogit - kMinLogit) * kPerUnit);
  std::array<float, kSteps + 1> values_;
};

const Logistic& TheLogistic() {
  static const Logistic logistic;
  return logistic;
}

}  // namespace

void ReuseModel::Parameter::Step(float gradient, float rate) {
  squares += gradient * gradient;
  value -= rate * gradient / std::sqrt(squares);
}

class ReuseModel::Hazards {
 public:
  // Both outlive it.
  Hazards(const ReuseModel& model, UseRole role, const Features& features)
      : base_(model.state_.base[static_cast<int>(role)]),
        weights_(model.state_.weights[KindOf(role)]),
        features_(features) {}

  float In(int interval) {
    if (interval / kIntervalsPerBand != band_) {
      band_ = interval / kIntervalsPerBand;
      band_sum_ = SumOf(weights_[band_], features_);
    }
    return logistic_(base_[interval].value + band_sum_);
  }

 private:
  const std::array<Parameter, AgeScale::kNumIntervals>& base_;
  const std::array<Weights, kNumBands>& weights_;
  const Features& features_;
  const Logistic& logistic_ = TheLogistic();
  int band_ = -1;
  float band_sum_ = 0;  // of band_
};

ReuseModel::ReuseModel() {
  for (int role = 0; role < kNumUseRoles; ++role) {
    const bool is_left = IsLeftBehind(static_cast<UseRole>(role));
    for (Parameter& base : state_.base[role]) {
      base.value = Logit(is_left ? kFirstSupersededHazard : kFirstHazard);
    }
  }
}

float ReuseModel::SumOf(const Weights& weights, const Features& features) {
  float sum = 0;
  for (int f = 0; f < kNumFeatures; ++f) sum += weights[f][features[f]].value;
  return sum;
}

void ReuseModel::Observe(UseRole role, const Features& features, int interval, bool used_again,
                         float weight) {
  auto& base = state_.base[static_cast<int>(role)];
  Weights& weights = state_.weights[KindOf(role)][interval / kIntervalsPerBand];
  const float logit = base[interval].value + SumOf(weights, features);
  // It is as sure as it gets, and parameters must not drift further than the way back.
  if (used_again ? logit >= kMaxLogit : logit <= kMinLogit) return;
  const float gradient = (TheLogistic()(logit) - (used_again ? 1.0f : 0.0f)) * weight;
  base[interval].Step(gradient, kBaseRate);
  for (const int next : {interval - 1, interval + 1}) {
    if (next < 0 || next >= AgeScale::kNumIntervals) continue;
    base[next].value -= kNeighbourShare * kBaseRate * gradient /
                        std::sqrt(base[next].squares + base[interval].squares);
  }
  for (int f = 0; f < kNumFeatures; ++f) weights[f][features[f]].Step(gradient, kFeatureRate);
}

double ReuseModel::Index(UseRole role, const Features& features, int interval) const {
  Hazards hazards(*this, role, features);
  float unused = 1;
  float hits = 0;
  float seconds = 0;
  float best_hits = 0;
  float best_seconds = 1;
  for (int i = interval; i < AgeScale::kNumIntervals && unused > kNegligible; ++i) {
    // Nothing that comes later has more hits a second than if all came in this interval.
    if (best_hits * ages_.length(i) >= 2 * best_seconds) break;
    const float hazard = hazards.In(i);
    hits += unused * hazard;
    seconds += unused * ages_.length(i) * (1 - hazard / 2);
    unused *= 1 - hazard;
    if (hits * best_seconds > best_hits * seconds) {
      best_hits = hits;
      best_seconds = seconds;
    }
  }
  return best_hits / best_seconds;
}

double ReuseModel::ReuseProbability(UseRole role, const Features& features, int interval) const {
  const auto& base = state_.base[static_cast<int>(role)];
  const auto is_seen = [&](int i) { return base[i].squares > Parameter().squares; };
  const bool is_new = !is_seen(std::max(interval, kLeastSeen));
  Hazards hazards(*this, role, features);
  double unused = 1;
  for (int i = interval; i < AgeScale::kNumIntervals && (is_new || is_seen(i)); ++i) {
    unused *= 1 - hazards.In(i);
  }
  return 1 - unused;
}

std::string ReuseModel::Serialize() const {
  static_assert(std::is_trivially_copyable_v<State>);
  std::string bytes(sizeof(kVersion) + sizeof(State), '\0');
  std::memcpy(bytes.data(), &kVersion, sizeof(kVersion));
  std::memcpy(bytes.data() + sizeof(kVersion), &state_, sizeof(State));
  return bytes;
}

absl::Status ReuseModel::Restore(absl::string_view bytes) {
  uint32_t version = 0;
  if (bytes.size() >= sizeof(version)) std::memcpy(&version, bytes.data(), sizeof(version));
  if (version != kVersion || bytes.size() != sizeof(version) + sizeof(State)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "reuse model of version ", version, " and ", bytes.size(), " bytes; this is version ",
        kVersion, " of ", sizeof(version) + sizeof(State), " bytes"));
  }
  State state;
  std::memcpy(&state, bytes.data() + sizeof(version), sizeof(State));
  const auto is_sound = [](const Parameter& parameter) {
    return std::isfinite(parameter.value) && std::isfinite(parameter.squares) &&
           parameter.squares > 0;
  };
  const auto* parameters = reinterpret_cast<const Parameter*>(&state);
  if (!std::all_of(parameters, parameters + sizeof(State) / sizeof(Parameter), is_sound)) {
    return absl::InvalidArgumentError("reuse model with values that are not finite");
  }
  state_ = state;
  return absl::OkStatus();
}

}  // namespace reprise::cachestore
