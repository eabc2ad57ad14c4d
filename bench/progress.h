// Progress: one line on stderr that tells how far a long step is. Redrawn in place on a terminal, a
// line every few seconds elsewhere. Thread-compatible.
#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace reprise::bench {

class Progress {
 public:
  // `what` names the step; `total` is its number of units of work.
  Progress(std::string what, int64_t total);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // `done` of `total` units are done; `note` is shown behind.
  void Update(int64_t done, absl::string_view note);

 private:
  const std::string what_;
  const int64_t total_;
  const absl::Time start_;
  const absl::Duration interval_;
  absl::Time last_shown_ = absl::InfinitePast();
};

}  // namespace reprise::bench
