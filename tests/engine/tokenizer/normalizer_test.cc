#include "engine/tokenizer/normalizer.h"

#include <gtest/gtest.h>
#include <utf8proc.h>

#include <cstdlib>
#include <memory>
#include <random>
#include <string>

#include "tests/fakes/test_seed.h"

namespace reprise::engine {
namespace {

std::string Nfc(const std::string& text) {
  MarkedText marked;
  marked.AppendPlain(text);
  return Normalizer({NfcStage{}}).Normalize(marked).text();
}

// By the library alone.
std::string Reference(const std::string& text) {
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> composed(
      utf8proc_NFC(reinterpret_cast<const utf8proc_uint8_t*>(text.c_str())), &std::free);
  return reinterpret_cast<const char*>(composed.get());
}

void Append(utf8proc_int32_t point, std::string& text) {
  utf8proc_uint8_t bytes[4];
  text.append(reinterpret_cast<const char*>(bytes), utf8proc_encode_char(point, bytes));
}

TEST(NormalizerTest, ComposesAsTheLibraryDoes) {
  // Ranges with combining marks, Hangul syllables and their parts, singletons, and all the rest.
  constexpr struct {
    utf8proc_int32_t first, last;
  } kRanges[] = {{0x61, 0x7A},     {0xC0, 0x24F},    {0x300, 0x36F},     {0x591, 0x5C7},
                 {0x900, 0x97F},   {0x1100, 0x11FF}, {0x1E00, 0x1EFF},   {0x2126, 0x212B},
                 {0xAC00, 0xD7A3}, {0xF900, 0xFAFF}, {0x1D15E, 0x1D164}, {0x1, 0x10FFFF}};
  std::mt19937 random(TestSeed());
  int changed = 0;
  for (int i = 0; i < 20'000; ++i) {
    std::string text;
    for (int n = 1 + random() % 12; n > 0; --n) {
      const auto& range = kRanges[random() % std::size(kRanges)];
      const auto point = static_cast<utf8proc_int32_t>(
          range.first + random() % static_cast<unsigned>(range.last - range.first + 1));
      if (utf8proc_codepoint_valid(point)) Append(point, text);
    }
    ASSERT_EQ(Nfc(text), Reference(text)) << i;
    changed += Nfc(text) != text;
  }
  EXPECT_GT(changed, 1000);
}

// In the square of their number it would be an hour.
TEST(NormalizerTest, AMillionMarksAreSoonInOrder) {
  constexpr int kMarks = 500'000;
  std::string text = "a";
  std::string ordered = "\xE1\xBA\xA1";  // a with dot below
  for (int i = 0; i < kMarks; ++i) Append(0x301, text);
  for (int i = 0; i < kMarks; ++i) Append(0x323, text);
  for (int i = 1; i < kMarks; ++i) Append(0x323, ordered);
  for (int i = 0; i < kMarks; ++i) Append(0x301, ordered);
  EXPECT_TRUE(Nfc(text) == ordered);
}

}  // namespace
}  // namespace reprise::engine
