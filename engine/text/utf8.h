// Walking over bytes that may or may not be UTF-8. Pure functions, thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace reprise::engine {

enum class Utf8Kind {
  kCharacter,   // a whole character
  kInvalid,     // bytes that begin no character: the longest start of one, or a single byte
  kIncomplete,  // the text ends inside a character that more bytes could complete
};

struct Utf8Step {
  Utf8Kind kind;
  size_t num_bytes;  // 1 to 4; at most 3 when incomplete
};

// What `text` begins with. REQUIRES: `text` is not empty.
Utf8Step NextUtf8(absl::string_view text);

// Offset of the first byte that is not UTF-8; nullopt when all of `text` is.
std::optional<size_t> FindInvalidUtf8(absl::string_view text);

// Appends a code point, no surrogate, in UTF-8.
void AppendUtf8(uint32_t code_point, std::string* text);

// U+FFFD in UTF-8.
inline constexpr absl::string_view kReplacementCharacter = "\xef\xbf\xbd";

// Appends `bytes` to `text`, each invalid stretch (as NextUtf8 cuts them) as one U+FFFD. Returns
// the number of bytes taken: all but those of an incomplete character at the end.
size_t AppendCompleteUtf8(absl::string_view bytes, std::string* text);

}  // namespace reprise::engine
