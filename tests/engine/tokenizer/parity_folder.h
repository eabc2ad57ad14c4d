// The tokenizer fixtures that tests/parity/make_tokenizer_fixtures.py wrote.
#pragma once

#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>

namespace reprise::engine {

inline std::filesystem::path ParityFolder() {
  return std::filesystem::path(REPRISE_SOURCE_DIR) / "tests/parity/tokenizers";
}

inline std::string ReadText(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>());
}

inline nlohmann::json ReadJson(const std::filesystem::path& file) {
  return nlohmann::json::parse(ReadText(file));
}

}  // namespace reprise::engine
