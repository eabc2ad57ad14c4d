// TinyModelFolder: a copy of a parity fixture with a tokenizer, so that an engine can open it. The
// tokenizer has one token for each byte and no merges. Removed with it.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "absl/strings/string_view.h"
#include "engine/tokenizer/byte_alphabet.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace reprise::engine {

class TinyModelFolder {
 public:
  explicit TinyModelFolder(const std::string& fixture) {
    std::string name = testing::TempDir() + "/reprise-model-XXXXXX";
    if (mkdtemp(name.data()) == nullptr) ADD_FAILURE() << "mkdtemp " << name;
    path_ = name;
    std::error_code error;
    std::filesystem::copy(REPRISE_SOURCE_DIR "/tests/parity/fixtures/" + fixture, path_, error);
    EXPECT_FALSE(error) << fixture << ": " << error.message();
    WriteTokenizer();
  }
  ~TinyModelFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TinyModelFolder(const TinyModelFolder&) = delete;
  TinyModelFolder& operator=(const TinyModelFolder&) = delete;

  const std::string& path() const { return path_; }

 private:
  void WriteTokenizer() const {
    nlohmann::json vocabulary;
    for (int byte = 0; byte < 256; ++byte) {
      const char c = static_cast<char>(byte);
      vocabulary[ToByteAlphabet(absl::string_view(&c, 1))] = byte;
    }
    const nlohmann::json byte_level = {{"type", "ByteLevel"},
                                       {"add_prefix_space", false},
                                       {"trim_offsets", false},
                                       {"use_regex", true}};
    const nlohmann::json tokenizer = {
        {"version", "1.0"},
        {"truncation", nullptr},
        {"padding", nullptr},
        {"added_tokens", nlohmann::json::array()},
        {"normalizer", nullptr},
        {"pre_tokenizer", byte_level},
        {"post_processor", nullptr},
        {"decoder", byte_level},
        {"model", {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", nlohmann::json::array()}}}};
    std::ofstream(path_ + "/tokenizer.json") << tokenizer.dump();
  }

  std::string path_;
};

}  // namespace reprise::engine
