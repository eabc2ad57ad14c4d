#include "engine/run/stop_filter.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "cachestore/base/check.h"

namespace reprise::engine {

StopFilter::StopFilter(std::vector<std::string> stop_strings)
    : stop_strings_(std::move(stop_strings)) {
  for (const std::string& stop : stop_strings_) CHECK(!stop.empty());
}

std::string StopFilter::Push(absl::string_view text) {
  CHECK(!stopped_);
  std::string stream = std::exchange(held_, std::string());
  stream.append(text.data(), text.size());

  // The stop string that ends first counts, so that it does not matter how the text was cut.
  std::optional<std::pair<size_t, size_t>> first;  // end, begin
  for (const std::string& stop : stop_strings_) {
    const size_t begin = stream.find(stop);
    if (begin == std::string::npos) continue;
    const std::pair<size_t, size_t> found(begin + stop.size(), begin);
    if (!first.has_value() || found < *first) first = found;
  }
  if (first.has_value()) {
    stopped_ = true;
    stream.resize(first->second);
    return stream;
  }

  // The longest end of the stream that begins a stop string.
  size_t held_bytes = 0;
  for (const std::string& stop : stop_strings_) {
    for (size_t n = std::min(stop.size() - 1, stream.size()); n > held_bytes; --n) {
      if (absl::EndsWith(stream, absl::string_view(stop).substr(0, n))) held_bytes = n;
    }
  }
  held_ = stream.substr(stream.size() - held_bytes);
  stream.resize(stream.size() - held_bytes);
  return stream;
}

std::string StopFilter::Finish() { return std::exchange(held_, std::string()); }

}  // namespace reprise::engine
