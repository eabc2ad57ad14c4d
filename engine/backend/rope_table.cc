#include "engine/backend/rope_table.h"

#include <cmath>
#include <new>
#include <utility>

#include "absl/strings/str_cat.h"
#include "cachestore/base/check.h"

namespace reprise::engine {

absl::Status RopeTable::Cover(int64_t num_positions) {
  CHECK(rotary_dim_ > 0 && rotary_dim_ % 2 == 0);
  const int64_t half = rotary_dim_ / 2;
  while (this->num_positions() < num_positions) {
    const int64_t begin = this->num_positions();
    std::unique_ptr<float[]> page(new (std::nothrow) float[kPagePositions * rotary_dim_]);
    if (page == nullptr) {
      return absl::ResourceExhaustedError(absl::StrCat(
          "no memory for the rotary table of positions ", begin, " to ", begin + kPagePositions - 1,
          ": ", kPagePositions * rotary_dim_ * static_cast<int64_t>(sizeof(float)), " bytes"));
    }
    for (int64_t i = 0; i < half; ++i) {
      // Hugging Face rounds the exponent, the power, its inverse and the angle to f32, and so does
      // this: exact angles would differ by 2e-4 at position 4,000. The power, the cosine and the
      // sine of the f32 angle are computed in f64 and rounded once; Hugging Face's are within one
      // unit in the last place of them.
      const float exponent = static_cast<float>(2 * i) / static_cast<float>(rotary_dim_);
      const float power = static_cast<float>(std::pow(theta_, static_cast<double>(exponent)));
      const float frequency = 1.0f / power;
      for (int64_t p = 0; p < kPagePositions; ++p) {
        const float angle = static_cast<float>(begin + p) * frequency;
        float* row = page.get() + p * rotary_dim_;
        row[i] = static_cast<float>(std::cos(static_cast<double>(angle)));
        row[half + i] = static_cast<float>(std::sin(static_cast<double>(angle)));
      }
    }
    pages_.push_back(std::move(page));
  }
  return absl::OkStatus();
}

}  // namespace reprise::engine
