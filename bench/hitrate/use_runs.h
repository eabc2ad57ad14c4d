// UseRuns: for each request, when the blocks of its chain were used before or will be used next.
// A block is used whenever one behind it is, so along a chain, from the root on, the next use comes
// later and later and the last one was longer and longer ago: a few runs say it all, and what is
// computed from them needs no look at single blocks. Immutable.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "cachestore/trace/trace.h"

namespace reprise::bench {

// `count` blocks of a chain with the same neighbouring use.
struct UseRun {
  uint32_t request = 0;  // its number; UseRuns::kNone: there is no such use
  uint32_t count = 0;
};

class UseRuns {
 public:
  static constexpr uint32_t kNone = 0xffffffff;

  // The next use of every block of every request; the last use before it.
  static UseRuns Next(const cachestore::Trace& trace) { return UseRuns(trace, true); }
  static UseRuns Last(const cachestore::Trace& trace) { return UseRuns(trace, false); }

  // The runs of a request's chain, root first.
  absl::Span<const UseRun> Of(size_t request) const {
    const auto [begin, size] = places_[request];
    return absl::MakeConstSpan(runs_).subspan(begin, size);
  }

 private:
  struct Place {
    size_t begin = 0;
    size_t size = 0;
  };
  UseRuns(const cachestore::Trace& trace, bool next);

  std::vector<UseRun> runs_;
  std::vector<Place> places_;  // of a request's runs
};

}  // namespace reprise::bench
