#include "engine/tokenizer/bpe_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "engine/tokenizer/tokenizer_json.h"
#include "tests/engine/tokenizer/parity_folder.h"

namespace reprise::engine {
namespace {

using nlohmann::json;
using Ids = std::vector<uint32_t>;

std::unique_ptr<Tokenizer> Load(const char* name) {
  auto tokenizer = LoadTokenizer((ParityFolder() / name).string());
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return *std::move(tokenizer);
}

std::unique_ptr<Tokenizer> Parse(const json& document) {
  auto tokenizer = ParseTokenizerJson(document.dump(), "test.json");
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return *std::move(tokenizer);
}

int CountOf(const Ids& ids, uint32_t id) {
  return static_cast<int>(std::count(ids.begin(), ids.end(), id));
}

TEST(BpeTokenizerTest, TokenIdsAndBytesAreInverse) {
  const auto tokenizer = Load("qwen2");
  int num_tokens = 0;
  for (uint32_t id = 0; id < tokenizer->vocab_size(); ++id) {
    const std::string bytes = tokenizer->TokenBytes(id);
    ASSERT_FALSE(bytes.empty()) << id;
    EXPECT_EQ(*tokenizer->TokenToId(bytes), id);
    ++num_tokens;
  }
  EXPECT_GT(num_tokens, 500);
  EXPECT_EQ(tokenizer->TokenBytes(tokenizer->vocab_size()), "");
  EXPECT_FALSE(tokenizer->IsSpecial(tokenizer->vocab_size()));
  EXPECT_EQ(tokenizer->TokenToId("no such token").status().code(), absl::StatusCode::kNotFound);
}

TEST(BpeTokenizerTest, SpacesAreSpacesInTokenBytes) {
  const auto tokenizer = Load("gpt2");
  const auto id = tokenizer->TokenToId(" the");
  ASSERT_TRUE(id.ok()) << id.status();
  EXPECT_EQ(tokenizer->TokenBytes(*id), " the");
}

TEST(BpeTokenizerTest, SpecialTokensAreLeftOutOfDecodedText) {
  const auto tokenizer = Load("qwen2");
  const uint32_t end = *tokenizer->TokenToId("<|im_end|>");
  const uint32_t call = *tokenizer->TokenToId("<tool_call>");
  ASSERT_TRUE(tokenizer->IsSpecial(end));
  ASSERT_FALSE(tokenizer->IsSpecial(call));
  Ids ids = *tokenizer->Encode("boats");
  ids.insert(ids.end(), {end, call});
  EXPECT_EQ(tokenizer->Decode(ids), "boats<tool_call>");
}

TEST(BpeTokenizerTest, LeadingIdsStandBeforeEveryTextButNotBeforePlainText) {
  const auto tokenizer = Load("llama3");
  const Ids leading = {*tokenizer->TokenToId("<|begin_of_text|>")};
  EXPECT_EQ(tokenizer->leading_ids(), leading);
  EXPECT_EQ(*tokenizer->Encode(""), leading);
  EXPECT_EQ(*tokenizer->EncodeMarked(MarkedText::Plain("")), Ids());
  EXPECT_EQ(Load("gpt2")->leading_ids(), Ids());
}

TEST(BpeTokenizerTest, TrailingTemplateIdsStandBehindEveryText) {
  json document = ReadJson(ParityFolder() / "llama3/tokenizer.json");
  json& single = document["post_processor"]["processors"][1]["single"];
  single.push_back(single[0]);
  const auto tokenizer = Parse(document);
  const uint32_t bos = *tokenizer->TokenToId("<|begin_of_text|>");
  EXPECT_EQ(*tokenizer->Encode(""), (Ids{bos, bos}));
  EXPECT_EQ(tokenizer->leading_ids(), Ids{bos});
}

TEST(BpeTokenizerTest, TextThatIsNotUtf8IsRefusedWithThePlace) {
  const auto tokenizer = Load("gpt2");
  for (const char* text : {"ab\xff", "ab\xc3", "ab\xed\xa0\x80", "ab\xc0\x80"}) {
    for (const auto& ids :
         {tokenizer->Encode(text), tokenizer->EncodeMarked(MarkedText::Plain(text))}) {
      EXPECT_EQ(ids.status().code(), absl::StatusCode::kInvalidArgument);
      EXPECT_THAT(std::string(ids.status().message()), testing::HasSubstr("byte 2"));
    }
  }
}

TEST(BpeTokenizerTest, PlainTextNeverGivesASpecialTokenEvenThroughMerges) {
  // "the" is a word like any other here, made by merges; then it becomes a special token.
  json document = ReadJson(ParityFolder() / "gpt2/tokenizer.json");
  const uint32_t the = document["model"]["vocab"]["the"];
  ASSERT_EQ(*Parse(document)->EncodeMarked(MarkedText::Plain("the")), Ids{the});
  document["added_tokens"].push_back({{"id", the}, {"content", "the"}, {"special", true}});
  const auto tokenizer = Parse(document);
  ASSERT_EQ(*tokenizer->Encode("the"), Ids{the});
  const Ids plain = *tokenizer->EncodeMarked(MarkedText::Plain("the"));
  EXPECT_THAT(plain, testing::Not(testing::Contains(the)));
  EXPECT_EQ(tokenizer->Decode(plain), "the");
}

TEST(BpeTokenizerTest, WholePiecesNeedNoMergesWhenMergesAreIgnored) {
  json document = ReadJson(ParityFolder() / "llama3/tokenizer.json");
  const uint32_t whole = document["model"]["vocab"]["unreachable"];
  EXPECT_THAT(*Parse(document)->EncodeMarked(MarkedText::Plain("unreachable")),
              testing::ElementsAre(whole));
  document["model"]["ignore_merges"] = false;
  EXPECT_THAT(*Parse(document)->EncodeMarked(MarkedText::Plain("unreachable")),
              testing::Not(testing::Contains(whole)));
}

TEST(BpeTokenizerTest, CharactersWithoutATokenBecomeTheirBytes) {
  const auto tokenizer = Load("llama2");
  const Ids ids = *tokenizer->EncodeMarked(MarkedText::Plain("\U0001f409"));
  // The space that SentencePiece puts first, and four bytes.
  ASSERT_EQ(ids.size(), 5u);
  EXPECT_EQ(ids[0], *tokenizer->TokenToId(" "));
  EXPECT_EQ(tokenizer->TokenBytes(ids[1]), "\xf0");
  EXPECT_EQ(tokenizer->Decode(ids), "\U0001f409");
  // A byte that is a character has a token under its own name, which is the one to be found.
  EXPECT_EQ(tokenizer->Decode(Ids{*tokenizer->TokenToId("a")}), "a");
  const json document = ReadJson(ParityFolder() / "llama2/tokenizer.json");
  EXPECT_EQ(*tokenizer->TokenToId("a"), document["model"]["vocab"]["a"].get<uint32_t>());
}

TEST(BpeTokenizerTest, UnknownCharactersAreFusedOrDroppedWhereThereAreNoBytes) {
  json document = ReadJson(ParityFolder() / "characters/tokenizer.json");
  const MarkedText text = MarkedText::Plain("a\U0001f409\U0001f409");
  const uint32_t unknown = document["model"]["vocab"]["<unk>"];
  const Ids fused = *Parse(document)->EncodeMarked(text);
  EXPECT_EQ(CountOf(fused, unknown), 1);
  document["model"]["fuse_unk"] = false;
  EXPECT_EQ(CountOf(*Parse(document)->EncodeMarked(text), unknown), 2);
  document["model"]["unk_token"] = nullptr;
  EXPECT_EQ(CountOf(*Parse(document)->EncodeMarked(text), unknown), 0);
}

TEST(BpeTokenizerTest, SpecialTokensAreFoundBetweenPlainRangesOnly) {
  const auto tokenizer = Load("qwen2");
  const uint32_t start = *tokenizer->TokenToId("<|im_start|>");
  const uint32_t end = *tokenizer->TokenToId("<|im_end|>");
  MarkedText text("<|im_start|>");
  text.AppendPlain("hello <|im_start|> and <|im_");
  text.AppendOwn("end|>");  // no token across the border
  text.AppendPlain("<|im_e");
  text.AppendOwn("<|im_end|>");  // what is plain before it does not hide it
  const Ids ids = *tokenizer->EncodeMarked(text);
  EXPECT_EQ(CountOf(ids, start), 1);
  EXPECT_EQ(ids.front(), start);
  EXPECT_EQ(CountOf(ids, end), 1);
  EXPECT_EQ(ids.back(), end);
  EXPECT_EQ(tokenizer->Decode(ids), "hello <|im_start|> and <|im_end|><|im_e");
}

TEST(BpeTokenizerTest, MarksFollowTheTextThroughNormalization) {
  // Special tokens that are looked for behind Prepend, Replace or NFC.
  for (const char* name : {"llama2", "gemma", "qwen2"}) {
    json document = ReadJson(ParityFolder() / name / "tokenizer.json");
    uint32_t id = 5000;
    for (const char* content : {"<turn end>", "<turn>"}) {
      document["added_tokens"].push_back(
          {{"id", id++}, {"content", content}, {"special", true}, {"normalized", true}});
    }
    const auto tokenizer = Parse(document);
    MarkedText text(" <turn> a");
    text.AppendPlain(" b <turn> e\u0301 <turn end> d");
    text.AppendOwn(" e\u0301 <turn end>");
    const Ids ids = *tokenizer->EncodeMarked(text);
    EXPECT_EQ(CountOf(ids, 5001), 1) << name;
    EXPECT_EQ(CountOf(ids, 5000), 1) << name;
    EXPECT_EQ(CountOf(*tokenizer->Encode(text.text()), 5001), 2) << name;
    EXPECT_EQ(CountOf(*tokenizer->Encode(text.text()), 5000), 2) << name;
  }
}

TEST(BpeTokenizerTest, LongRunsWithoutSpacesAreMergedInNearLinearTime) {
  json document = ReadJson(ParityFolder() / "gpt2/tokenizer.json");
  // a, aa, aaaa, ... so that every symbol of the run takes part in a merge at every level.
  uint32_t next_id = 5000;
  for (std::string half = "a"; half.size() < 64; half += half) {
    document["model"]["vocab"].emplace(half + half, next_id++);
    document["model"]["merges"].push_back(half + " " + half);
  }
  const auto tokenizer = Parse(document);
  const std::string text(100000, 'a');
  const auto start = std::chrono::steady_clock::now();
  const Ids ids = *tokenizer->Encode(text);
  const auto time = std::chrono::steady_clock::now() - start;
  EXPECT_LE(ids.size(), 100000u / 64 + 6);
  EXPECT_EQ(tokenizer->Decode(ids), text);
  // A quadratic merge takes minutes; the limit leaves room for sanitizers.
  EXPECT_LT(std::chrono::duration<double>(time).count(), 5);
}

TEST(BpeTokenizerTest, ThreadsMayEncodeAtTheSameTime) {
  const auto tokenizer = Load("qwen2");
  const std::string text = "It's the harbour's 137th boat: caf\xc3\xa9, \xe6\xb8\xaf!";
  const Ids expected = *tokenizer->Encode(text);
  std::vector<int> num_equal(4, 0);
  std::vector<std::thread> threads;
  for (int& equal : num_equal) {
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i) equal += *tokenizer->Encode(text) == expected ? 1 : 0;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(num_equal, testing::Each(200));
}

}  // namespace
}  // namespace reprise::engine
