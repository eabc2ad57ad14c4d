// The byte alphabet of byte-level BPE: each of the 256 bytes has one printable character, in which
// tokenizer.json spells its tokens (the space is written U+0120). Pure functions, thread-safe.
#pragma once

#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace reprise::engine {

// `bytes` spelt in the byte alphabet, as UTF-8.
std::string ToByteAlphabet(absl::string_view bytes);

// The bytes that `spelling` (UTF-8) stands for; nullopt when a character is not in the alphabet.
std::optional<std::string> FromByteAlphabet(absl::string_view spelling);

}  // namespace reprise::engine
