#include "engine/tokenizer/character_class.h"

#include <utf8proc.h>

#include <cstdint>

namespace reprise::engine {
namespace {

utf8proc_int32_t CodePointOf(absl::string_view character) {
  utf8proc_int32_t code_point = -1;
  utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(character.data()),
                   static_cast<utf8proc_ssize_t>(character.size()), &code_point);
  return code_point;
}

absl::string_view FirstCharacter(absl::string_view text) {
  size_t num_bytes = 1;
  while (num_bytes < text.size() && (text[num_bytes] & 0xc0) == 0x80) ++num_bytes;
  return text.substr(0, num_bytes);
}

absl::string_view LastCharacter(absl::string_view text) {
  size_t begin = text.size() - 1;
  while (begin > 0 && (text[begin] & 0xc0) == 0x80) --begin;
  return text.substr(begin);
}

// Circled and squared letters: symbols by category, yet Alphabetic.
bool IsEnclosedLetter(utf8proc_int32_t c) {
  return (c >= 0x24b6 && c <= 0x24e9) || (c >= 0x1f130 && c <= 0x1f149) ||
         (c >= 0x1f150 && c <= 0x1f169) || (c >= 0x1f170 && c <= 0x1f189);
}

bool IsWordCharacter(absl::string_view character) {
  const utf8proc_int32_t code_point = CodePointOf(character);
  switch (utf8proc_category(code_point)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
      return true;
    default:
      return IsEnclosedLetter(code_point) || code_point == 0x200c || code_point == 0x200d;
  }
}

bool IsSpace(absl::string_view character) {
  const utf8proc_int32_t code_point = CodePointOf(character);
  if ((code_point >= 0x09 && code_point <= 0x0d) || code_point == 0x85) return true;
  const utf8proc_category_t category = utf8proc_category(code_point);
  return category == UTF8PROC_CATEGORY_ZS || category == UTF8PROC_CATEGORY_ZL ||
         category == UTF8PROC_CATEGORY_ZP;
}

}  // namespace

bool StartsWithWordCharacter(absl::string_view text) {
  return !text.empty() && IsWordCharacter(FirstCharacter(text));
}

bool EndsWithWordCharacter(absl::string_view text) {
  return !text.empty() && IsWordCharacter(LastCharacter(text));
}

size_t LeadingSpaceBytes(absl::string_view text) {
  absl::string_view rest = text;
  while (!rest.empty() && IsSpace(FirstCharacter(rest))) {
    rest.remove_prefix(FirstCharacter(rest).size());
  }
  return text.size() - rest.size();
}

size_t TrailingSpaceBytes(absl::string_view text) {
  absl::string_view rest = text;
  while (!rest.empty() && IsSpace(LastCharacter(rest))) {
    rest.remove_suffix(LastCharacter(rest).size());
  }
  return text.size() - rest.size();
}

}  // namespace reprise::engine
