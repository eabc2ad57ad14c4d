#include "engine/model/demo_tokenizer.h"

#include <string>

namespace reprise::engine {
namespace {

constexpr const char* kSpecialTokens[] = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};

// A code point below U+0800 in UTF-8.
std::string Utf8(uint32_t code_point) {
  if (code_point < 0x80) return std::string(1, static_cast<char>(code_point));
  return {static_cast<char>(0xC0 | (code_point >> 6)),
          static_cast<char>(0x80 | (code_point & 0x3F))};
}

// GPT-2's alphabet: printable Latin-1 stands for itself, the other bytes for U+0100 onwards.
bool StandsForItself(uint32_t byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

nlohmann::json ByteLevel() {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", false},
          {"trim_offsets", true},
          {"use_regex", true}};
}

}  // namespace

nlohmann::json DemoTokenizer() {
  nlohmann::json vocab = nlohmann::json::object();
  uint32_t next = 0x100;
  for (uint32_t byte = 0; byte < 256; ++byte) {
    vocab[Utf8(StandsForItself(byte) ? byte : next++)] = byte;
  }
  nlohmann::json added = nlohmann::json::array();
  uint32_t id = kDemoEndOfText;
  for (const char* token : kSpecialTokens) {
    added.push_back({{"id", id++},
                     {"content", token},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
  }
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", added},
          {"normalizer", nullptr},
          {"pre_tokenizer", ByteLevel()},
          {"post_processor", nullptr},
          {"decoder", ByteLevel()},
          {"model",
           {{"type", "BPE"},
            {"dropout", nullptr},
            {"unk_token", nullptr},
            {"continuing_subword_prefix", nullptr},
            {"end_of_word_suffix", nullptr},
            {"fuse_unk", false},
            {"byte_fallback", false},
            {"ignore_merges", false},
            {"vocab", vocab},
            {"merges", nlohmann::json::array()}}}};
}

nlohmann::json DemoTokenizerConfig(int64_t max_positions) {
  return {{"tokenizer_class", "PreTrainedTokenizerFast"},
          {"model_max_length", max_positions},
          {"clean_up_tokenization_spaces", false},
          {"eos_token", "<|im_end|>"},
          {"pad_token", "<|endoftext|>"},
          {"chat_template",
           "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + "
           "message['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
           "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"}};
}

}  // namespace reprise::engine
