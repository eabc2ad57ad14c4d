// Budget: how much work a rendering may still do. Every byte that it makes costs a unit and every
// step kStep of them, so that memory and time are bounded together. Thread-compatible.
#pragma once

#include <cstddef>

#include "absl/status/status.h"

namespace reprise::engine::jinja {

// A step takes about as long as to copy this many bytes.
inline constexpr size_t kStep = 64;

class Budget {
 public:
  explicit Budget(size_t units) : units_(units) {}

  // kResourceExhausted: less than `units` are left.
  absl::Status Spend(size_t units) {
    if (units > units_) {
      return absl::ResourceExhaustedError("rendering the chat template takes too many steps");
    }
    units_ -= units;
    return absl::OkStatus();
  }

 private:
  size_t units_;
};

}  // namespace reprise::engine::jinja
