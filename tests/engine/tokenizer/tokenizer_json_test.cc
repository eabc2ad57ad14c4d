#include "engine/tokenizer/tokenizer_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/engine/tokenizer/parity_folder.h"

namespace reprise::engine {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

struct BadFile {
  const char* name;
  std::function<void(json*)> change;  // makes the sound file bad
  const char* place;                  // of the complaint
  const char* cause;
};

void PrintTo(const BadFile& bad, std::ostream* out) { *out << bad.name; }

class BadTokenizerJsonTest : public testing::TestWithParam<BadFile> {};

TEST_P(BadTokenizerJsonTest, IsRefusedWithFilePlaceAndCause) {
  json document = ReadJson(ParityFolder() / "llama3/tokenizer.json");
  ASSERT_TRUE(ParseTokenizerJson(document.dump(), "sound.json").ok());
  GetParam().change(&document);
  const auto tokenizer = ParseTokenizerJson(document.dump(), "bad.json");
  ASSERT_EQ(tokenizer.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(tokenizer.status().message()),
              AllOf(testing::StartsWith(std::string("bad.json: ") + GetParam().place),
                    HasSubstr(GetParam().cause)));
}

json Sequence(const char* key, std::vector<json> elements) {
  return json{{"type", "Sequence"}, {key, elements}};
}

const BadFile kBadFiles[] = {
    {"RootIsArray", [](json* d) { *d = json::array(); }, "", "expected an object, found array"},
    {"NoModel", [](json* d) { d->erase("model"); }, "", "\"model\" is missing"},
    {"NullModel", [](json* d) { (*d)["model"] = nullptr; }, "", "\"model\" is missing"},
    {"Unigram", [](json* d) { (*d)["model"]["type"] = "Unigram"; }, "model", "Unigram"},
    {"WordPiece",
     [](json* d) {
       (*d)["model"] = {{"type", "WordPiece"}, {"vocab", json::object()}};
     },
     "model", "WordPiece"},
    {"UntypedModel",
     [](json* d) {
       (*d)["model"] = {{"vocab", json::object()}};
     },
     "model", "unknown"},
    {"TypeIsNumber", [](json* d) { (*d)["model"]["type"] = 5; }, "model.type",
     "expected a string, found number"},
    {"Dropout", [](json* d) { (*d)["model"]["dropout"] = 0.1; }, "model.dropout", "random"},
    {"WordSuffix", [](json* d) { (*d)["model"]["end_of_word_suffix"] = "</w>"; }, "model",
     "end_of_word_suffix \"</w>\""},
    {"NoVocab", [](json* d) { (*d)["model"].erase("vocab"); }, "model", "\"vocab\" is missing"},
    {"VocabIsArray", [](json* d) { (*d)["model"]["vocab"] = json::array(); }, "model.vocab",
     "expected an object"},
    {"NegativeId", [](json* d) { (*d)["model"]["vocab"]["!"] = -1; }, "model.vocab.!",
     "-1 is out of range"},
    {"HugeId", [](json* d) { (*d)["model"]["vocab"]["!"] = 4000000000u; }, "model.vocab.!",
     "4000000000 is out of range"},
    {"FractionalId", [](json* d) { (*d)["model"]["vocab"]["!"] = 1.5; }, "model.vocab.!",
     "expected a token id"},
    {"TextId", [](json* d) { (*d)["model"]["vocab"]["!"] = "7"; }, "model.vocab.!",
     "expected a token id, found string"},
    {"SharedId", [](json* d) { (*d)["model"]["vocab"]["!"] = (*d)["model"]["vocab"]["\""]; },
     "model.vocab", "both have id"},
    {"MissingByte", [](json* d) { (*d)["model"]["vocab"].erase("A"); }, "model.vocab",
     "byte 0x41, spelt \"A\", has no token"},
    {"NoMerges", [](json* d) { (*d)["model"].erase("merges"); }, "model", "\"merges\" is missing"},
    {"UnknownInMerge",
     [](json* d) {
       (*d)["model"]["merges"][3] = {"zzz", "a"};
     },
     "model.merges[3]", "\"zzz\" of the merge \"zzz\" \"a\" is not in model.vocab"},
    {"UnknownResult", [](json* d) { (*d)["model"]["merges"][3] = "Q Q"; }, "model.merges[3]",
     "\"QQ\""},
    {"TripleMerge", [](json* d) { (*d)["model"]["merges"][3] = "a b c"; }, "model.merges[3]",
     "expected"},
    {"NumberMerge",
     [](json* d) {
       (*d)["model"]["merges"][3] = {1, 2};
     },
     "model.merges[3]", "expected"},
    {"AddedIsObject", [](json* d) { (*d)["added_tokens"] = json::object(); }, "added_tokens",
     "expected an array"},
    {"AddedWithoutId", [](json* d) { (*d)["added_tokens"][1].erase("id"); }, "added_tokens[1]",
     "\"id\" is missing"},
    {"AddedIdTaken", [](json* d) { (*d)["added_tokens"][1]["id"] = 0; }, "added_tokens[1]",
     "has id 0, which is taken by"},
    {"AddedElsewhereInVocab", [](json* d) { (*d)["model"]["vocab"]["<|eot_id|>"] = 9000; },
     "added_tokens[2]", "but id 9000 in model.vocab"},
    {"AddedTwice", [](json* d) { (*d)["added_tokens"][1] = (*d)["added_tokens"][0]; },
     "added_tokens[1]", "is added_tokens[0] as well"},
    {"AddedEmpty", [](json* d) { (*d)["added_tokens"][0]["content"] = ""; },
     "added_tokens[0].content", "at least one character"},
    {"AddedFlag", [](json* d) { (*d)["added_tokens"][0]["lstrip"] = "yes"; },
     "added_tokens[0].lstrip", "expected true or false, found string"},
    {"Lowercase",
     [](json* d) {
       (*d)["normalizer"] = {{"type", "Lowercase"}};
     },
     "normalizer", "Lowercase is not supported"},
    {"NestedNormalizer",
     [](json* d) {
       (*d)["normalizer"] = Sequence("normalizers", {{{"type", "NFKC"}}});
     },
     "normalizer.normalizers[0]", "NFKC"},
    {"WhitespacePreTokenizer",
     [](json* d) {
       (*d)["pre_tokenizer"] = {{"type", "Whitespace"}};
     },
     "pre_tokenizer", "Whitespace is not supported"},
    // Characters then, and what reads the bytes back does not fit.
    {"NoByteLevel", [](json* d) { (*d)["pre_tokenizer"]["pretokenizers"].erase(1); }, "decoder",
     "ByteLevel is not supported"},
    {"SplitAfterBytes",
     [](json* d) {
       json& stages = (*d)["pre_tokenizer"]["pretokenizers"];
       std::swap(stages[0], stages[1]);
     },
     "pre_tokenizer.pretokenizers[1]", "nothing may follow ByteLevel"},
    {"BadRegex",
     [](json* d) { (*d)["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "(a"; },
     "pre_tokenizer.pretokenizers[0].pattern.Regex", "regular expression"},
    {"UnknownRegex",
     [](json* d) { (*d)["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "a\\Kb"; },
     "pre_tokenizer.pretokenizers[0].pattern.Regex", "'\\K' at offset 1"},
    {"NoPattern", [](json* d) { (*d)["pre_tokenizer"]["pretokenizers"][0]["pattern"] = "a"; },
     "pre_tokenizer.pretokenizers[0].pattern", "Regex"},
    {"UnknownBehavior",
     [](json* d) { (*d)["pre_tokenizer"]["pretokenizers"][0]["behavior"] = "Shuffled"; },
     "pre_tokenizer.pretokenizers[0].behavior", "Shuffled"},
    {"Roberta",
     [](json* d) {
       (*d)["post_processor"] = {{"type", "RobertaProcessing"}};
     },
     "post_processor", "RobertaProcessing is not supported"},
    {"TemplateWithoutText",
     [](json* d) { (*d)["post_processor"]["processors"][1]["single"].erase(1); },
     "post_processor.processors[1]", "0 places for the text"},
    {"TemplateUnknownToken",
     [](json* d) { (*d)["post_processor"]["processors"][1]["special_tokens"] = json::object(); },
     "post_processor.processors[1].special_tokens", "is missing"},
    {"TemplateUnknownId",
     [](json* d) {
       json& tokens = (*d)["post_processor"]["processors"][1]["special_tokens"];
       tokens["<|begin_of_text|>"]["ids"][0] = 100000;
     },
     "post_processor.processors[1].special_tokens.<|begin_of_text|>.ids[0]",
     "100000 is out of range"},
    {"NoDecoder", [](json* d) { d->erase("decoder"); }, "", "\"decoder\" is missing"},
    {"WordPieceDecoder",
     [](json* d) {
       (*d)["decoder"] = {{"type", "WordPiece"}};
     },
     "decoder", "WordPiece is not supported"},
};

INSTANTIATE_TEST_SUITE_P(Kinds, BadTokenizerJsonTest, testing::ValuesIn(kBadFiles),
                         [](const auto& info) { return std::string(info.param.name); });

// The same for a tokenizer of characters.
class BadCharacterTokenizerJsonTest : public testing::TestWithParam<BadFile> {};

TEST_P(BadCharacterTokenizerJsonTest, IsRefusedWithFilePlaceAndCause) {
  json document = ReadJson(ParityFolder() / "llama2/tokenizer.json");
  ASSERT_TRUE(ParseTokenizerJson(document.dump(), "sound.json").ok());
  GetParam().change(&document);
  const auto tokenizer = ParseTokenizerJson(document.dump(), "bad.json");
  ASSERT_EQ(tokenizer.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(tokenizer.status().message()),
              AllOf(testing::StartsWith(std::string("bad.json: ") + GetParam().place),
                    HasSubstr(GetParam().cause)));
}

json& DecoderAt(json* document, size_t index) { return (*document)["decoder"]["decoders"][index]; }

const BadFile kBadCharacterFiles[] = {
    {"MissingByteToken", [](json* d) { (*d)["model"]["vocab"].erase("<0x0A>"); }, "model.vocab",
     "byte 0x0a, spelt \"<0x0A>\", has no token"},
    {"UnknownUnk", [](json* d) { (*d)["model"]["unk_token"] = "<what>"; }, "model.unk_token",
     "\"<what>\" is not in model.vocab"},
    {"ReplaceByRegex",
     [](json* d) {
       (*d)["normalizer"]["normalizers"][1]["pattern"] = {{"Regex", " +"}};
     },
     "normalizer.normalizers[1].pattern", "Regex is not supported"},
    {"ReplaceNothing",
     [](json* d) { (*d)["normalizer"]["normalizers"][1]["pattern"]["String"] = ""; },
     "normalizer.normalizers[1].pattern", "empty"},
    {"UnknownScheme",
     [](json* d) {
       (*d)["pre_tokenizer"] = {
           {"type", "Metaspace"}, {"replacement", "_"}, {"prepend_scheme", "last"}};
     },
     "pre_tokenizer", "unknown prepend_scheme \"last\""},
    {"EmptySpace",
     [](json* d) {
       (*d)["pre_tokenizer"] = {{"type", "Metaspace"}, {"replacement", ""}};
     },
     "pre_tokenizer", "\"replacement\" is empty"},
    {"ByteLevelDecoder",
     [](json* d) {
       (*d)["decoder"] = {{"type", "ByteLevel"}};
     },
     "decoder", "ByteLevel is not supported"},
    {"DecodersOutOfOrder", [](json* d) { std::swap(DecoderAt(d, 0), DecoderAt(d, 1)); },
     "decoder.decoders[1]", "Replace cannot stand here"},
    {"StripOfTokens", [](json* d) { (*d)["decoder"]["decoders"].erase(2); }, "decoder.decoders[2]",
     "behind Fuse only"},
    {"StripOfTheEnd", [](json* d) { DecoderAt(d, 3)["stop"] = 1; }, "decoder.decoders[3].stop",
     "the end of a streamed text is not known"},
};

INSTANTIATE_TEST_SUITE_P(Kinds, BadCharacterTokenizerJsonTest,
                         testing::ValuesIn(kBadCharacterFiles),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(TokenizerJsonTest, TruncatedFilesAreRefusedAtAnyLength) {
  const std::string text = ReadText(ParityFolder() / "qwen2/tokenizer.json");
  ASSERT_TRUE(ParseTokenizerJson(text, "whole.json").ok());
  for (size_t length = 0; length < text.size() - 2; length += 97) {
    const auto tokenizer = ParseTokenizerJson(text.substr(0, length), "cut.json");
    ASSERT_EQ(tokenizer.status().code(), absl::StatusCode::kInvalidArgument) << length;
    EXPECT_THAT(std::string(tokenizer.status().message()),
                AllOf(testing::StartsWith("cut.json: not JSON: "), HasSubstr("line")));
  }
}

TEST(TokenizerJsonTest, StringsThatAreNotUtf8AreRefused) {
  const auto tokenizer = ParseTokenizerJson("{\"model\": \"\xff\"}", "bad.json");
  EXPECT_EQ(tokenizer.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(tokenizer.status().message()), HasSubstr("bad.json: not JSON"));
}

TEST(TokenizerJsonTest, TruncationAndPaddingArePassedOver) {
  json document = ReadJson(ParityFolder() / "qwen2/tokenizer.json");
  document["truncation"] = {{"max_length", 2}};
  const auto tokenizer = ParseTokenizerJson(document.dump(), "file.json");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_GT((*tokenizer)->Encode("one two three four")->size(), 3u);
}

TEST(TokenizerJsonTest, VersionLineAmongStringMergesIsSkipped) {
  json document = ReadJson(ParityFolder() / "gpt2/tokenizer.json");
  const auto without = ParseTokenizerJson(document.dump(), "file.json");
  document["model"]["merges"].insert(document["model"]["merges"].begin(), "#version: 0.2");
  const auto with = ParseTokenizerJson(document.dump(), "file.json");
  ASSERT_TRUE(with.ok()) << with.status();
  EXPECT_EQ(*(*with)->Encode("the harbour"), *(*without)->Encode("the harbour"));
}

TEST(TokenizerJsonTest, DigestTellsFilesApart) {
  const std::string text = ReadText(ParityFolder() / "qwen2/tokenizer.json");
  const auto tokenizer = ParseTokenizerJson(text, "a.json");
  const auto same = ParseTokenizerJson(text, "b.json");
  const auto other = ParseTokenizerJson(text + " ", "a.json");
  ASSERT_TRUE(tokenizer.ok() && same.ok() && other.ok());
  EXPECT_EQ((*tokenizer)->digest().size(), 32u);
  EXPECT_EQ((*tokenizer)->digest(), (*same)->digest());
  EXPECT_NE((*tokenizer)->digest(), (*other)->digest());
}

TEST(TokenizerJsonTest, DeepJsonIsRefusedWithoutTakingTheStack) {
  for (const auto& [place, list] : {std::make_pair("normalizer", "normalizers"),
                                    std::make_pair("post_processor", "processors")}) {
    std::string open;
    std::string close;
    for (int i = 0; i < 100'000; ++i) {
      open += std::string("{\"type\":\"Sequence\",\"") + list + "\":[";
      close += "]}";
    }
    json document = ReadJson(ParityFolder() / "qwen2/tokenizer.json");
    document[place] = "here";
    std::string text = document.dump();
    text.replace(text.find("\"here\""), 6, open + close);
    const auto tokenizer = ParseTokenizerJson(text, "deep.json");
    EXPECT_EQ(tokenizer.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(tokenizer.status().message()), HasSubstr("at most 64"));
  }
}

TEST(LoadTokenizerTest, HugeFileIsRefusedUnread) {
  const std::filesystem::path folder = std::filesystem::path(testing::TempDir()) / "huge_tokenizer";
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "tokenizer.json").close();
  std::filesystem::resize_file(folder / "tokenizer.json", uintmax_t{1} << 40);  // a hole
  const auto tokenizer = LoadTokenizer(folder.string());
  EXPECT_EQ(tokenizer.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(tokenizer.status().message()), HasSubstr("are read"));
  std::filesystem::remove_all(folder);
}

TEST(LoadTokenizerTest, MissingFileOrFolderIsNotFound) {
  const auto tokenizer = LoadTokenizer("/no/such/folder");
  EXPECT_EQ(tokenizer.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(tokenizer.status().message()),
              HasSubstr("/no/such/folder/tokenizer.json"));
}

TEST(LoadTokenizerTest, EmptyFileAndFolderOfThatNameAreRefused) {
  const std::filesystem::path root =
      std::filesystem::path(testing::TempDir()) / "tokenizer_json_test";
  std::filesystem::remove_all(root);
  std::filesystem::create_directories(root / "folder" / "tokenizer.json");
  std::filesystem::create_directories(root / "empty");
  std::ofstream(root / "empty" / "tokenizer.json").close();
  for (const char* name : {"folder", "empty"}) {
    const auto tokenizer = LoadTokenizer((root / name).string());
    EXPECT_EQ(tokenizer.status().code(), absl::StatusCode::kInvalidArgument) << name;
    EXPECT_THAT(std::string(tokenizer.status().message()), HasSubstr("tokenizer.json")) << name;
  }
  std::filesystem::remove_all(root);
}

}  // namespace
}  // namespace reprise::engine
