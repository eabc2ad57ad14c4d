// LineLimit: how many lines a second are written of what anybody can cause as often as they like.
// Thread-compatible.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>

#include "absl/time/time.h"

namespace reprise::api {

class LineLimit {
 public:
  explicit LineLimit(int64_t lines_per_second) : lines_per_second_(lines_per_second) {}

  // Takes a line at `now`: how many were left out since the one before it, or nothing when this one
  // is to be left out too.
  std::optional<int64_t> Take(absl::Time now) {
    if (now - second_ >= absl::Seconds(1)) {
      second_ = now;
      written_ = 0;
    }
    if (written_ == lines_per_second_) {
      ++left_out_;
      return std::nullopt;
    }
    ++written_;
    return std::exchange(left_out_, 0);
  }

 private:
  const int64_t lines_per_second_;
  absl::Time second_ = absl::InfinitePast();  // the second that is counted in
  int64_t written_ = 0;                       // in it
  int64_t left_out_ = 0;                      // since the last line
};

}  // namespace reprise::api
