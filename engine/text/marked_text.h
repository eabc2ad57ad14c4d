// MarkedText: a text that knows which of its bytes are plain: written by others, so that no special
// token may be read in them. A value; thread-compatible.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"

namespace reprise::engine {

// Bytes begin to end of a text.
struct TextRange {
  size_t begin = 0;
  size_t end = 0;
  friend bool operator==(const TextRange&, const TextRange&) = default;
};

class MarkedText {
 public:
  MarkedText() = default;
  // Nothing of `text` is plain.
  explicit MarkedText(std::string text) : text_(std::move(text)) {}
  // All of `text` is plain.
  static MarkedText Plain(std::string text);

  const std::string& text() const { return text_; }
  // In order, apart, none empty.
  const std::vector<TextRange>& plain() const { return plain_; }
  size_t size() const { return text_.size(); }
  bool empty() const { return text_.empty(); }

  // Whether a byte of `range` is plain; whether all of them are.
  bool TouchesPlain(TextRange range) const;
  bool IsPlain(TextRange range) const;

  // Bytes `range`. REQUIRES: they lie inside of the text.
  MarkedText Slice(TextRange range) const;
  void Append(const MarkedText& other);
  void AppendSlice(const MarkedText& other, TextRange range);
  // Appends `text`, of which nothing is plain.
  void AppendOwn(absl::string_view text) { text_.append(text.data(), text.size()); }
  // Appends `text`, all of it plain.
  void AppendPlain(absl::string_view text);

 private:
  // Adds the range, which begins at or behind the end of the last one.
  void Mark(TextRange range);

  std::string text_;
  std::vector<TextRange> plain_;
};

}  // namespace reprise::engine
