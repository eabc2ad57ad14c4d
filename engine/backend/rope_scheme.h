// RopeScheme: how fast rotary positions turn each pair of dims, and how scaled versions of them
// stretch to longer contexts. Only schemes in which a position's angles depend on the position
// alone are here: one that looks at the length of the text would make cached keys wrong. Plain
// data.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

namespace reprise::engine {

// Every frequency divided by `factor` (position interpolation, arXiv 2306.15595).
struct LinearRope {
  double factor;
  bool operator==(const LinearRope&) const = default;
};

// Llama 3.1: frequencies that turn less than `low` times over the original context are divided by
// `factor`, those that turn more than `high` times stay, those between are blended.
struct Llama3Rope {
  double factor;
  double low;
  double high;
  double original_positions;
  bool operator==(const Llama3Rope&) const = default;
};

// YaRN (arXiv 2309.00071): dims that turn more than `beta_fast` times over the original context
// stay, dims that turn less than `beta_slow` times are divided by `factor`, with a linear ramp over
// the dims between; the ramp's ends are rounded to whole dims when `truncate`. Cosines and sines
// are multiplied by `attention_factor`.
struct YarnRope {
  double factor;
  double beta_fast;
  double beta_slow;
  double original_positions;
  bool truncate;
  double attention_factor;
  bool operator==(const YarnRope&) const = default;
};

struct RopeScheme {
  double theta = 10000;
  std::variant<std::monostate, LinearRope, Llama3Rope, YarnRope> scaling;

  // What cosines and sines are multiplied by.
  double attention_factor() const;
  // [rotary_dim / 2]: the angle of pair i is position x frequency i. Without scaling frequency i is
  // theta^(-2 i / rotary_dim). REQUIRES: rotary_dim is even and above 0.
  std::vector<float> Frequencies(int64_t rotary_dim) const;
  // "rope theta=10000": every number that angles depend on, exactly. Equal schemes, and they alone,
  // have equal names.
  std::string Name() const;

  bool operator==(const RopeScheme&) const = default;
};

}  // namespace reprise::engine
