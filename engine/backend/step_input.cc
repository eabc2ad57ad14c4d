#include "engine/backend/step_input.h"

#include "cachestore/base/check.h"

namespace reprise::engine {

void ListPositions(absl::Span<const SequenceRows> sequences, std::vector<int32_t>* positions) {
  positions->clear();
  for (const SequenceRows& sequence : sequences) {
    for (int64_t i = 0; i < sequence.num_rows; ++i) {
      positions->push_back(static_cast<int32_t>(sequence.start + i));
    }
  }
}

void ListKeptRows(absl::Span<const SequenceRows> sequences, absl::Span<const int64_t> kept_rows,
                  std::vector<SequenceRows>* kept) {
  kept->clear();
  auto sequence = sequences.begin();
  for (const int64_t row : kept_rows) {
    while (sequence != sequences.end() && row >= sequence->first_row + sequence->num_rows) {
      ++sequence;
    }
    CHECK(sequence != sequences.end() && row >= sequence->first_row);
    kept->push_back({static_cast<int64_t>(kept->size()), 1,
                     sequence->start + row - sequence->first_row, sequence->blocks});
  }
}

}  // namespace reprise::engine
