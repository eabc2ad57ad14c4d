#include "engine/backend/rope_table.h"

#include <cmath>

#include "cachestore/base/check.h"

namespace reprise::engine {

RopeTable MakeRopeTable(int64_t rotary_dim, int64_t num_positions, double theta) {
  CHECK(rotary_dim > 0 && rotary_dim % 2 == 0 && num_positions > 0);
  const int64_t half = rotary_dim / 2;
  RopeTable table;
  table.rotary_dim = rotary_dim;
  table.num_positions = num_positions;
  table.cosines.resize(num_positions * half);
  table.sines.resize(num_positions * half);
  for (int64_t i = 0; i < half; ++i) {
    // Every rounding to f32 below is one that Hugging Face makes: the exponent, the power, its
    // inverse and the angle are f32 tensors there. At position 4,000 an angle of f64 would differ
    // by 2e-4.
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(rotary_dim);
    const float power = static_cast<float>(std::pow(theta, static_cast<double>(exponent)));
    const float frequency = 1.0f / power;
    for (int64_t position = 0; position < num_positions; ++position) {
      const float angle = static_cast<float>(position) * frequency;
      const double exact = static_cast<double>(angle);
      table.cosines[position * half + i] = static_cast<float>(std::cos(exact));
      table.sines[position * half + i] = static_cast<float>(std::sin(exact));
    }
  }
  return table;
}

}  // namespace reprise::engine
