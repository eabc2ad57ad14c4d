// The tokenizer files of a demo model: every byte is a token (id = byte), then the special tokens.
#pragma once

#include <cstdint>

#include "nlohmann/json.hpp"

namespace reprise::engine {

inline constexpr uint32_t kDemoEndOfText = 256;  // <|endoftext|>
inline constexpr uint32_t kDemoImStart = 257;    // <|im_start|>
inline constexpr uint32_t kDemoImEnd = 258;      // <|im_end|>
inline constexpr int64_t kDemoVocabulary = 259;

// tokenizer.json: byte-level BPE without merges.
nlohmann::json DemoTokenizer();
// tokenizer_config.json, with a ChatML template.
nlohmann::json DemoTokenizerConfig(int64_t max_positions);

}  // namespace reprise::engine
