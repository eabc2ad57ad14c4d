#include "engine/backend/cuda/prefix_groups.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <utility>

#include "cachestore/base/check.h"

namespace reprise::engine::cuda {
namespace {

// How many of `count` entries are equal, from the first on.
int32_t CommonEntries(const uint32_t* a, const uint32_t* b, int32_t count) {
  constexpr int32_t kRun = 64;
  int32_t common = 0;
  while (count - common >= kRun && std::memcmp(a + common, b + common, kRun * sizeof(*a)) == 0) {
    common += kRun;
  }
  while (common < count && a[common] == b[common]) ++common;
  return common;
}

struct Groups {
  int64_t saved = 0;  // positions that are not read again
  std::vector<PrefixGroup> groups;
};

// The tables as a tree of their common entries. Rows that part ways at an entry are looked at each
// for themselves.
class PrefixTree {
 public:
  PrefixTree(absl::Span<const AttentionRow> rows, const uint32_t* table, int32_t table_stride,
             int32_t block_tokens)
      : rows_(rows), table_(table), table_stride_(table_stride), block_tokens_(block_tokens) {}

  // The best groups of `rows`, the first `common` entries of which are equal.
  Groups Best(std::vector<int32_t> rows, int32_t common) const {
    if (rows.size() < kLeastGroupRows) return {};
    int32_t end = EntriesOf(rows[0]);
    for (const int32_t row : rows) {
      end = std::min(end, EntriesOf(row));
      end = common + CommonEntries(TableOf(rows[0]) + common, TableOf(row) + common, end - common);
    }
    const int32_t multiple = std::max(block_tokens_, kGroupPositions);
    const int32_t positions = end * block_tokens_ / multiple * multiple;
    const int64_t saved = static_cast<int64_t>(rows.size() - 1) * positions;
    Groups apart = BestApart(rows, end);
    if (positions < kLeastGroupPositions || apart.saved > saved) return apart;
    std::sort(rows.begin(), rows.end());
    return {saved, {{std::move(rows), positions}}};
  }

 private:
  const uint32_t* TableOf(int32_t row) const {
    return table_ + static_cast<int64_t>(rows_[row].sequence) * table_stride_;
  }
  // Entries that may be shared: whole blocks, and not the row's own position.
  int32_t EntriesOf(int32_t row) const { return (rows_[row].length - 1) / block_tokens_; }

  // Of rows that do not all share entry `at`, or have none.
  Groups BestApart(const std::vector<int32_t>& rows, int32_t at) const {
    std::vector<std::pair<uint32_t, int32_t>> by_entry;
    for (const int32_t row : rows) {
      if (EntriesOf(row) > at) by_entry.emplace_back(TableOf(row)[at], row);
    }
    std::sort(by_entry.begin(), by_entry.end());
    Groups best;
    for (size_t i = 0; i < by_entry.size();) {
      std::vector<int32_t> same;
      const uint32_t entry = by_entry[i].first;
      for (; i < by_entry.size() && by_entry[i].first == entry; ++i) {
        same.push_back(by_entry[i].second);
      }
      Groups more = Best(std::move(same), at + 1);
      best.saved += more.saved;
      std::move(more.groups.begin(), more.groups.end(), std::back_inserter(best.groups));
    }
    return best;
  }

  const absl::Span<const AttentionRow> rows_;
  const uint32_t* const table_;
  const int32_t table_stride_;
  const int32_t block_tokens_;
};

}  // namespace

std::vector<PrefixGroup> FindPrefixGroups(absl::Span<const AttentionRow> rows,
                                          const uint32_t* table, int32_t table_stride,
                                          int32_t block_tokens) {
  CHECK(block_tokens > 0 && (block_tokens & (block_tokens - 1)) == 0);
  std::vector<int32_t> all(rows.size());
  for (size_t r = 0; r < rows.size(); ++r) all[r] = static_cast<int32_t>(r);
  return PrefixTree(rows, table, table_stride, block_tokens).Best(std::move(all), 0).groups;
}

}  // namespace reprise::engine::cuda
