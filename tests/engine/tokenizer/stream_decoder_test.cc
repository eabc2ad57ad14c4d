#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "engine/text/utf8.h"
#include "engine/tokenizer/tokenizer.h"
#include "tests/engine/tokenizer/parity_folder.h"

namespace reprise::engine {
namespace {

class StreamDecoderTest : public testing::Test {
 protected:
  void SetUp() override {
    auto loaded = LoadTokenizer((ParityFolder() / "qwen2").string());
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    tokenizer_ = *std::move(loaded);
  }
  uint32_t Byte(unsigned char byte) const {
    return *tokenizer_->TokenToId(std::string(1, static_cast<char>(byte)));
  }

  std::unique_ptr<Tokenizer> tokenizer_;
};

TEST_F(StreamDecoderTest, HoldsBackACharacterUntilItsLastByte) {
  StreamDecoder stream(tokenizer_.get());
  EXPECT_EQ(stream.Push(Byte(0xf0)), "");
  EXPECT_EQ(stream.Push(Byte(0x9f)), "");
  EXPECT_EQ(stream.Push(Byte(0x9a)), "");
  EXPECT_EQ(stream.Push(Byte(0xa2)), "\xf0\x9f\x9a\xa2");
  EXPECT_EQ(stream.Finish(), "");
}

TEST_F(StreamDecoderTest, CharacterCutOffAtTheEndBecomesOneReplacement) {
  StreamDecoder stream(tokenizer_.get());
  EXPECT_EQ(stream.Push(Byte('a')), "a");
  EXPECT_EQ(stream.Push(Byte(0xe6)), "");
  EXPECT_EQ(stream.Push(Byte(0xb8)), "");
  EXPECT_EQ(stream.Finish(), "\xef\xbf\xbd");
  EXPECT_EQ(stream.Finish(), "");
}

TEST_F(StreamDecoderTest, CharacterBrokenOffInTheMiddleIsReplacedAtOnce) {
  StreamDecoder stream(tokenizer_.get());
  EXPECT_EQ(stream.Push(Byte(0xe6)), "");
  EXPECT_EQ(stream.Push(Byte('x')), "\xef\xbf\xbdx");
  EXPECT_EQ(stream.Push(Byte(0x80)), "\xef\xbf\xbd");
}

TEST_F(StreamDecoderTest, SpecialTokensGiveNoText) {
  StreamDecoder stream(tokenizer_.get());
  const uint32_t end = *tokenizer_->TokenToId("<|im_end|>");
  ASSERT_TRUE(tokenizer_->IsSpecial(end));
  EXPECT_EQ(stream.Push(Byte(0xc3)), "");
  EXPECT_EQ(stream.Push(end), "");
  EXPECT_EQ(stream.Push(Byte(0xa9)), "\xc3\xa9");
}

TEST_F(StreamDecoderTest, EveryPieceIsUtf8AndTogetherTheyAreTheDecodedText) {
  std::mt19937 random(11);
  int num_held_back = 0;
  for (int i = 0; i < 500; ++i) {
    std::vector<uint32_t> ids(1 + random() % 20);
    for (uint32_t& id : ids) id = random() % tokenizer_->vocab_size();
    StreamDecoder stream(tokenizer_.get());
    std::string text;
    for (const uint32_t id : ids) {
      const std::string piece = stream.Push(id);
      EXPECT_FALSE(FindInvalidUtf8(piece).has_value());
      if (piece.empty() && !tokenizer_->IsSpecial(id)) ++num_held_back;
      text += piece;
    }
    text += stream.Finish();
    EXPECT_EQ(text, tokenizer_->Decode(ids));
  }
  EXPECT_GT(num_held_back, 100);
}

}  // namespace
}  // namespace reprise::engine
