#include "engine/text/utf8.h"

#include <cstdint>

namespace reprise::engine {
namespace {

// What a first byte announces: the number of bytes and the range of the second one, which rules
// out overlong forms, surrogates and code points above U+10FFFF. num_bytes 0: begins nothing.
struct FirstByte {
  size_t num_bytes;
  uint8_t second_min;
  uint8_t second_max;
};

FirstByte Announced(uint8_t byte) {
  if (byte < 0x80) return {1, 0, 0};
  if (byte < 0xc2) return {0, 0, 0};
  if (byte < 0xe0) return {2, 0x80, 0xbf};
  if (byte == 0xe0) return {3, 0xa0, 0xbf};
  if (byte == 0xed) return {3, 0x80, 0x9f};
  if (byte < 0xf0) return {3, 0x80, 0xbf};
  if (byte == 0xf0) return {4, 0x90, 0xbf};
  if (byte < 0xf4) return {4, 0x80, 0xbf};
  if (byte == 0xf4) return {4, 0x80, 0x8f};
  return {0, 0, 0};
}

}  // namespace

Utf8Step NextUtf8(absl::string_view text) {
  const FirstByte first = Announced(static_cast<uint8_t>(text[0]));
  if (first.num_bytes == 0) return {Utf8Kind::kInvalid, 1};
  uint8_t min = first.second_min;
  uint8_t max = first.second_max;
  for (size_t i = 1; i < first.num_bytes; ++i) {
    if (i == text.size()) return {Utf8Kind::kIncomplete, i};
    const uint8_t byte = static_cast<uint8_t>(text[i]);
    if (byte < min || byte > max) return {Utf8Kind::kInvalid, i};
    min = 0x80;
    max = 0xbf;
  }
  return {Utf8Kind::kCharacter, first.num_bytes};
}

std::optional<size_t> FindInvalidUtf8(absl::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const Utf8Step step = NextUtf8(text.substr(i));
    if (step.kind != Utf8Kind::kCharacter) return i;
    i += step.num_bytes;
  }
  return std::nullopt;
}

void AppendUtf8(uint32_t code_point, std::string* text) {
  if (code_point < 0x80) {
    text->push_back(static_cast<char>(code_point));
    return;
  }
  const int num_following = code_point < 0x800 ? 1 : code_point < 0x10000 ? 2 : 3;
  const uint32_t announcement[] = {0xc0, 0xe0, 0xf0};
  text->push_back(
      static_cast<char>(announcement[num_following - 1] | code_point >> 6 * num_following));
  for (int i = num_following - 1; i >= 0; --i) {
    text->push_back(static_cast<char>(0x80 | (code_point >> 6 * i & 0x3f)));
  }
}

size_t AppendCompleteUtf8(absl::string_view bytes, std::string* text) {
  size_t i = 0;
  while (i < bytes.size()) {
    const Utf8Step step = NextUtf8(bytes.substr(i));
    if (step.kind == Utf8Kind::kIncomplete) break;
    const absl::string_view taken = bytes.substr(i, step.num_bytes);
    const absl::string_view added =
        step.kind == Utf8Kind::kCharacter ? taken : kReplacementCharacter;
    text->append(added.data(), added.size());
    i += step.num_bytes;
  }
  return i;
}

}  // namespace reprise::engine
