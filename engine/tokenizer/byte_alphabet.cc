#include "engine/tokenizer/byte_alphabet.h"

#include <array>
#include <cstddef>
#include <cstdint>

namespace reprise::engine {
namespace {

constexpr uint16_t kFirstMoved = 0x100;
constexpr size_t kAlphabetEnd = 0x144;  // one past the last character of the alphabet
constexpr int16_t kNoByte = -1;

// Bytes that are printable characters in Latin-1 stand for themselves.
constexpr bool IsPrintable(int byte) {
  return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte != 0xad);
}

struct Alphabet {
  std::array<uint16_t, 256> character{};     // by byte
  std::array<int16_t, kAlphabetEnd> byte{};  // by character, kNoByte where there is none
};

constexpr Alphabet MakeAlphabet() {
  Alphabet alphabet;
  for (int16_t& byte : alphabet.byte) byte = kNoByte;
  uint16_t next_moved = kFirstMoved;
  for (int byte = 0; byte < 256; ++byte) {
    const uint16_t character = IsPrintable(byte) ? static_cast<uint16_t>(byte) : next_moved++;
    alphabet.character[byte] = character;
    alphabet.byte[character] = static_cast<int16_t>(byte);
  }
  return alphabet;
}

constexpr Alphabet kAlphabet = MakeAlphabet();

}  // namespace

std::string ToByteAlphabet(absl::string_view bytes) {
  std::string spelling;
  spelling.reserve(bytes.size() * 2);
  for (const char c : bytes) {
    const uint16_t character = kAlphabet.character[static_cast<uint8_t>(c)];
    if (character < 0x80) {
      spelling.push_back(static_cast<char>(character));
    } else {
      spelling.push_back(static_cast<char>(0xc0 | (character >> 6)));
      spelling.push_back(static_cast<char>(0x80 | (character & 0x3f)));
    }
  }
  return spelling;
}

std::optional<std::string> FromByteAlphabet(absl::string_view spelling) {
  std::string bytes;
  bytes.reserve(spelling.size());
  for (size_t i = 0; i < spelling.size(); ++i) {
    uint32_t character = static_cast<uint8_t>(spelling[i]);
    if (character >= 0x80) {
      // The alphabet ends below U+0144: two bytes of UTF-8 are the most there can be.
      if ((character & 0xe0) != 0xc0 || i + 1 == spelling.size()) return std::nullopt;
      character = (character & 0x1f) << 6 | (static_cast<uint8_t>(spelling[++i]) & 0x3f);
    }
    if (character >= kAlphabetEnd || kAlphabet.byte[character] == kNoByte) return std::nullopt;
    bytes.push_back(static_cast<char>(kAlphabet.byte[character]));
  }
  return bytes;
}

}  // namespace reprise::engine
