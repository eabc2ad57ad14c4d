// What Python does with strings, on texts that know which of their bytes are plain: every byte of a
// result keeps its mark. Texts are UTF-8. Pure functions, thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "engine/text/marked_text.h"

namespace reprise::engine::jinja {

enum class Ends { kBoth, kLeft, kRight };

// Without the characters of `set` at its ends; without white space when there is no set.
MarkedText Strip(const MarkedText& text, std::optional<absl::string_view> set, Ends ends);

// The stretches between occurrences of `separator`, which is not empty, from the left at most
// `most_cuts` times.
std::vector<MarkedText> Split(const MarkedText& text, absl::string_view separator,
                              size_t most_cuts);
// The same from the right.
std::vector<MarkedText> SplitFromRight(const MarkedText& text, absl::string_view separator,
                                       size_t most_cuts);
// The words between white space.
std::vector<MarkedText> SplitWords(const MarkedText& text);

MarkedText Replace(const MarkedText& text, absl::string_view from, const MarkedText& to);

enum class Case { kLower, kUpper, kTitle, kCapitalize };
// kFailedPrecondition: a letter beyond ASCII.
absl::StatusOr<MarkedText> ChangeCase(const MarkedText& text, Case to);

// Where each character lies, in order.
std::vector<TextRange> CharactersOf(absl::string_view text);

// The indices that Python's start:stop:step takes of `length` elements; nullopt where one is left
// out. REQUIRES: step is not 0.
std::vector<size_t> SliceIndices(size_t length, std::optional<int64_t> start,
                                 std::optional<int64_t> stop, int64_t step);

}  // namespace reprise::engine::jinja
