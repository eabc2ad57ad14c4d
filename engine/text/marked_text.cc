#include "engine/text/marked_text.h"

#include <algorithm>

#include "cachestore/base/check.h"

namespace reprise::engine {
namespace {

// The first of `ranges` that ends behind `at`.
std::vector<TextRange>::const_iterator FirstBehind(const std::vector<TextRange>& ranges,
                                                   size_t at) {
  return std::upper_bound(ranges.begin(), ranges.end(), at,
                          [](size_t value, const TextRange& range) { return value < range.end; });
}

}  // namespace

MarkedText MarkedText::Plain(std::string text) {
  MarkedText marked(std::move(text));
  marked.Mark({0, marked.size()});
  return marked;
}

bool MarkedText::TouchesPlain(TextRange range) const {
  const auto first = FirstBehind(plain_, range.begin);
  return first != plain_.end() && first->begin < range.end;
}

bool MarkedText::IsPlain(TextRange range) const {
  const auto first = FirstBehind(plain_, range.begin);
  return first != plain_.end() && first->begin <= range.begin && first->end >= range.end;
}

MarkedText MarkedText::Slice(TextRange range) const {
  MarkedText slice;
  slice.AppendSlice(*this, range);
  return slice;
}

void MarkedText::Append(const MarkedText& other) { AppendSlice(other, {0, other.size()}); }

void MarkedText::AppendSlice(const MarkedText& other, TextRange range) {
  CHECK(range.begin <= range.end && range.end <= other.size());
  const size_t own_end = text_.size();
  text_.append(other.text_, range.begin, range.end - range.begin);
  for (auto plain = FirstBehind(other.plain_, range.begin);
       plain != other.plain_.end() && plain->begin < range.end; ++plain) {
    Mark({own_end + std::max(plain->begin, range.begin) - range.begin,
          own_end + std::min(plain->end, range.end) - range.begin});
  }
}

void MarkedText::AppendPlain(absl::string_view text) {
  const size_t begin = text_.size();
  text_.append(text.data(), text.size());
  Mark({begin, text_.size()});
}

void MarkedText::Mark(TextRange range) {
  if (range.begin == range.end) return;
  if (!plain_.empty() && plain_.back().end == range.begin) {
    plain_.back().end = range.end;
  } else {
    plain_.push_back(range);
  }
}

}  // namespace reprise::engine
