// Our tokenizer against what the `tokenizers` library said of the same texts.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "engine/tokenizer/tokenizer.h"
#include "tests/engine/tokenizer/parity_folder.h"

namespace reprise::engine {
namespace {

using Ids = std::vector<uint32_t>;
using nlohmann::json;

class TokenizerParityTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    auto loaded = LoadTokenizer((ParityFolder() / GetParam()).string());
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    tokenizer_ = *std::move(loaded);
    texts_ = ReadJson(ParityFolder() / "texts.json");
    expected_ = ReadJson(ParityFolder() / GetParam() / "expected.json");
    ASSERT_GE(texts_.size(), 400u);
    ASSERT_EQ(texts_.size(), expected_["ids"].size());
  }

  std::unique_ptr<Tokenizer> tokenizer_;
  json texts_;
  json expected_;
};

TEST_P(TokenizerParityTest, EncodesEveryTextToTheExpectedIds) {
  for (size_t i = 0; i < texts_.size(); ++i) {
    const auto ids = tokenizer_->Encode(texts_[i].get<std::string>());
    ASSERT_TRUE(ids.ok()) << ids.status() << " text " << texts_[i];
    EXPECT_EQ(*ids, expected_["ids"][i].get<Ids>()) << "text " << i << " " << texts_[i];
  }
}

TEST_P(TokenizerParityTest, EncodesEveryTextLiterallyToTheExpectedIds) {
  for (size_t i = 0; i < texts_.size(); ++i) {
    const auto ids = tokenizer_->EncodePlain(texts_[i].get<std::string>());
    ASSERT_TRUE(ids.ok()) << ids.status() << " text " << texts_[i];
    EXPECT_EQ(*ids, expected_["plain_ids"][i].get<Ids>()) << "text " << i << " " << texts_[i];
  }
}

TEST_P(TokenizerParityTest, SpecialTokensOffGivesOtherIdsForTextsThatHoldThem) {
  EXPECT_NE(expected_["ids"], expected_["plain_ids"]);
}

TEST_P(TokenizerParityTest, DecodesToTheExpectedText) {
  int num_compared = 0;
  for (size_t i = 0; i < texts_.size(); ++i) {
    if (expected_["decoded"][i].is_null()) continue;
    const std::string text = tokenizer_->Decode(expected_["ids"][i].get<Ids>());
    EXPECT_EQ(text, expected_["decoded"][i].get<std::string>()) << "text " << i << " " << texts_[i];
    ++num_compared;
  }
  EXPECT_GE(num_compared, 300);
}

TEST_P(TokenizerParityTest, DecodesArbitraryIdsToTheExpectedText) {
  int num_broken = 0;
  for (size_t i = 0; i < expected_["id_lists"].size(); ++i) {
    const Ids ids = expected_["id_lists"][i].get<Ids>();
    const std::string text = expected_["id_texts"][i].get<std::string>();
    EXPECT_EQ(tokenizer_->Decode(ids), text) << "list " << i;
    if (text.find("\xef\xbf\xbd") != std::string::npos) ++num_broken;

    StreamDecoder stream(tokenizer_.get());
    std::string streamed;
    for (const uint32_t id : ids) streamed += stream.Push(id);
    EXPECT_EQ(streamed + stream.Finish(), text) << "list " << i;
  }
  EXPECT_GE(num_broken, 20);  // lists that are not UTF-8 were among them
}

INSTANTIATE_TEST_SUITE_P(Families, TokenizerParityTest,
                         testing::Values("gpt2", "llama3", "qwen2", "mixed"),
                         [](const auto& info) { return std::string(info.param); });

// UTF-8 of random characters: any plane, no surrogates.
std::string RandomText(std::mt19937* random) {
  const auto below = [random](uint32_t n) { return (*random)() % n; };
  std::string text;
  for (uint32_t left = below(40); left > 0; --left) {
    const uint32_t limits[] = {0x80, 0x800, 0x10000, 0x110000};
    uint32_t c = below(limits[below(4)]);
    if (c >= 0xd800 && c < 0xe000) c = ' ';
    if (c < 0x80) {
      text += static_cast<char>(c);
    } else if (c < 0x800) {
      text += {static_cast<char>(0xc0 | c >> 6), static_cast<char>(0x80 | (c & 0x3f))};
    } else if (c < 0x10000) {
      text += {static_cast<char>(0xe0 | c >> 12), static_cast<char>(0x80 | (c >> 6 & 0x3f)),
               static_cast<char>(0x80 | (c & 0x3f))};
    } else {
      text += {static_cast<char>(0xf0 | c >> 18), static_cast<char>(0x80 | (c >> 12 & 0x3f)),
               static_cast<char>(0x80 | (c >> 6 & 0x3f)), static_cast<char>(0x80 | (c & 0x3f))};
    }
  }
  return text;
}

class TokenizerRoundTripTest : public testing::TestWithParam<const char*> {};

TEST_P(TokenizerRoundTripTest, DecodingWhatWasEncodedGivesTheTextBack) {
  const auto tokenizer = LoadTokenizer((ParityFolder() / GetParam()).string());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  std::mt19937 random(7);
  size_t num_bytes = 0;
  for (int i = 0; i < 2000; ++i) {
    const std::string text = RandomText(&random);
    const auto ids = (*tokenizer)->Encode(text);
    ASSERT_TRUE(ids.ok()) << ids.status();
    EXPECT_EQ((*tokenizer)->Decode(*ids), text);
    num_bytes += text.size();
  }
  EXPECT_GT(num_bytes, 50000u);
}

// The other fixtures normalize.
INSTANTIATE_TEST_SUITE_P(Families, TokenizerRoundTripTest, testing::Values("gpt2", "llama3"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace reprise::engine
