#include "engine/jinja/string_literal.h"

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "cachestore/base/status_macros.h"
#include "engine/text/utf8.h"

namespace reprise::engine::jinja {
namespace {

// The character of an escape of one letter; 0 when it is none.
char SimpleEscape(char letter) {
  switch (letter) {
    case 'n':
      return '\n';
    case 't':
      return '\t';
    case 'r':
      return '\r';
    case 'a':
      return '\a';
    case 'b':
      return '\b';
    case 'f':
      return '\f';
    case 'v':
      return '\v';
    case '\\':
    case '\'':
    case '"':
      return letter;
    default:
      return 0;
  }
}

size_t DigitsOf(char letter) {
  if (letter == 'x') return 2;
  if (letter == 'u') return 4;
  return letter == 'U' ? 8 : 0;
}

absl::Status AppendCodePoint(absl::string_view digits, size_t num_digits, std::string* text) {
  uint32_t code_point = 0;
  if (digits.size() != num_digits || !absl::SimpleHexAtoi(digits, &code_point) ||
      code_point > 0x10ffff || (code_point >= 0xd800 && code_point < 0xe000)) {
    return absl::InvalidArgumentError(
        absl::StrCat("escape of hexadecimal digits \"", digits, "\" is no character"));
  }
  AppendUtf8(code_point, text);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> ResolveEscapes(absl::string_view text) {
  std::string resolved;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 1 == text.size()) {
      resolved.push_back(text[i]);
      continue;
    }
    const char letter = text[++i];
    const size_t num_digits = DigitsOf(letter);
    if (letter == '\n') continue;  // a line that goes on
    if (SimpleEscape(letter) != 0) {
      resolved.push_back(SimpleEscape(letter));
    } else if (num_digits > 0) {
      RETURN_IF_ERROR(AppendCodePoint(text.substr(i + 1, num_digits), num_digits, &resolved));
      i += num_digits;
    } else if (letter == 'N' || absl::ascii_isdigit(static_cast<unsigned char>(letter))) {
      return absl::InvalidArgumentError(
          absl::StrCat("escape \\", text.substr(i, 1), " is not supported"));
    } else {
      resolved.push_back('\\');
      resolved.push_back(letter);
    }
  }
  return resolved;
}

}  // namespace reprise::engine::jinja
