// Classes of Unicode characters, and the characters at the ends of a text. Pure functions,
// thread-safe.
#pragma once

#include <cstddef>

#include "absl/strings/string_view.h"

namespace reprise::engine {

// Whether `text` begins (ends) with a character of a word: a letter, mark, digit, connector or
// joiner. False for empty text. REQUIRES: `text` is UTF-8.
bool StartsWithWordCharacter(absl::string_view text);
bool EndsWithWordCharacter(absl::string_view text);

// Length in bytes of the white space (Unicode White_Space) at the start (end) of `text`.
// REQUIRES: `text` is UTF-8.
size_t LeadingSpaceBytes(absl::string_view text);
size_t TrailingSpaceBytes(absl::string_view text);

}  // namespace reprise::engine
