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
  const auto factor = static_cast<float>(scheme_.attention_factor());
  while (this->num_positions() < num_positions) {
    const int64_t begin = this->num_positions();
    std::unique_ptr<float[]> page(new (std::nothrow) float[kPagePositions * rotary_dim_]);
    if (page == nullptr) {
      return absl::ResourceExhaustedError(absl::StrCat(
          "no memory for the rotary table of positions ", begin, " to ", begin + kPagePositions - 1,
          ": ", kPagePositions * rotary_dim_ * static_cast<int64_t>(sizeof(float)), " bytes"));
    }
    if (frequencies_.empty()) frequencies_ = scheme_.Frequencies(rotary_dim_);
    for (int64_t i = 0; i < half; ++i) {
      for (int64_t p = 0; p < kPagePositions; ++p) {
        // Rounded to f32, as Hugging Face does; its cosine and sine are within one unit in the last
        // place of these.
        const float angle = static_cast<float>(begin + p) * frequencies_[i];
        float* row = page.get() + p * rotary_dim_;
        row[i] = static_cast<float>(std::cos(static_cast<double>(angle))) * factor;
        row[half + i] = static_cast<float>(std::sin(static_cast<double>(angle))) * factor;
      }
    }
    pages_.push_back(std::move(page));
  }
  return absl::OkStatus();
}

}  // namespace reprise::engine
