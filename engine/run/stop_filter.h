// StopFilter: passes text on up to the first stop string, also when it arrives in pieces.
//
// Of several stop strings the one that ends first counts, of those that end together the longest.
// Text is held back only for as long as it may be the beginning of a stop string.
// Thread-compatible.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace reprise::engine {

class StopFilter {
 public:
  // REQUIRES: no stop string is empty.
  explicit StopFilter(std::vector<std::string> stop_strings);

  // Adds `text` to the stream; returns what may be passed on now. REQUIRES: !stopped().
  std::string Push(absl::string_view text);
  // The stream has ended: what was held back and is text after all. Empty when stopped().
  std::string Finish();
  // Whether a stop string has been seen.
  bool stopped() const { return stopped_; }

 private:
  const std::vector<std::string> stop_strings_;
  std::string held_;  // a proper prefix of a stop string, or empty
  bool stopped_ = false;
};

}  // namespace reprise::engine
