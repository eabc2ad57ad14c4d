#include "engine/backend/rope_scheme.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_format.h"

// Hugging Face computes frequencies in f32 tensors and the numbers that shape them in f64, and so
// does this, in the same order: another order would be 2e-4 off in the angle at position 4,000.

namespace reprise::engine {
namespace {

constexpr float kTurn = static_cast<float>(2 * M_PI);

// theta^(2 i / rotary_dim), rounded as Hugging Face rounds: the exponent and the power to f32. The
// power itself is computed in f64; Hugging Face's is within one unit in the last place of it.
std::vector<float> Powers(double theta, int64_t rotary_dim) {
  std::vector<float> powers(rotary_dim / 2);
  for (size_t i = 0; i < powers.size(); ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(rotary_dim);
    powers[i] = static_cast<float>(std::pow(theta, static_cast<double>(exponent)));
  }
  return powers;
}

float Scale(const Llama3Rope& rope, float frequency) {
  const auto factor = static_cast<float>(rope.factor);
  const auto low = static_cast<float>(rope.low);
  const float wavelength = (1.0f / frequency) * kTurn;
  if (wavelength > static_cast<float>(rope.original_positions / rope.low)) {
    return frequency / factor;
  }
  if (wavelength < static_cast<float>(rope.original_positions / rope.high)) return frequency;
  const float turns = (1.0f / wavelength) * static_cast<float>(rope.original_positions);
  const float kept = (turns - low) / static_cast<float>(rope.high - rope.low);
  return (1.0f - kept) * frequency / factor + kept * frequency;
}

// The dim, not rounded, that turns `turns` times over the original context.
double DimThatTurns(const YarnRope& rope, double turns, double theta, int64_t rotary_dim) {
  return static_cast<double>(rotary_dim) * std::log(rope.original_positions / (turns * 2 * M_PI)) /
         (2 * std::log(theta));
}

std::vector<float> YarnFrequencies(const YarnRope& rope, double theta, int64_t rotary_dim) {
  double first = DimThatTurns(rope, rope.beta_fast, theta, rotary_dim);
  double last = DimThatTurns(rope, rope.beta_slow, theta, rotary_dim);
  if (rope.truncate) {
    first = std::floor(first);
    last = std::ceil(last);
  }
  first = std::max(first, 0.0);
  last = std::min(last, static_cast<double>(rotary_dim - 1));
  if (first == last) last += 0.001;  // a ramp of no length would divide by zero
  std::vector<float> frequencies = Powers(theta, rotary_dim);
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const float power = frequencies[i];
    const float ramp =
        (static_cast<float>(i) - static_cast<float>(first)) / static_cast<float>(last - first);
    const float kept = 1.0f - std::clamp(ramp, 0.0f, 1.0f);
    frequencies[i] =
        1.0f / (static_cast<float>(rope.factor) * power) * (1.0f - kept) + 1.0f / power * kept;
  }
  return frequencies;
}

}  // namespace

double RopeScheme::attention_factor() const {
  const auto* yarn = std::get_if<YarnRope>(&scaling);
  return yarn == nullptr ? 1 : yarn->attention_factor;
}

std::vector<float> RopeScheme::Frequencies(int64_t rotary_dim) const {
  if (const auto* yarn = std::get_if<YarnRope>(&scaling)) {
    return YarnFrequencies(*yarn, theta, rotary_dim);
  }
  std::vector<float> frequencies = Powers(theta, rotary_dim);
  for (float& frequency : frequencies) {
    frequency = 1.0f / frequency;
    if (const auto* linear = std::get_if<LinearRope>(&scaling)) {
      frequency /= static_cast<float>(linear->factor);
    } else if (const auto* llama3 = std::get_if<Llama3Rope>(&scaling)) {
      frequency = Scale(*llama3, frequency);
    }
  }
  return frequencies;
}

std::string RopeScheme::Name() const {
  std::string name = absl::StrFormat("rope theta=%.17g", theta);
  if (const auto* linear = std::get_if<LinearRope>(&scaling)) {
    absl::StrAppendFormat(&name, " linear factor=%.17g", linear->factor);
  } else if (const auto* llama3 = std::get_if<Llama3Rope>(&scaling)) {
    absl::StrAppendFormat(&name, " llama3 factor=%.17g low=%.17g high=%.17g original=%.17g",
                          llama3->factor, llama3->low, llama3->high, llama3->original_positions);
  } else if (const auto* yarn = std::get_if<YarnRope>(&scaling)) {
    absl::StrAppendFormat(
        &name,
        " yarn factor=%.17g fast=%.17g slow=%.17g original=%.17g truncate=%d attention=%.17g",
        yarn->factor, yarn->beta_fast, yarn->beta_slow, yarn->original_positions, yarn->truncate,
        yarn->attention_factor);
  }
  return name;
}

}  // namespace reprise::engine
