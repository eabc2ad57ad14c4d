#include "engine/tokenizer/text_decoder.h"

#include <cstdint>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "engine/tokenizer/byte_alphabet.h"

namespace reprise::engine {
namespace {

std::string Apply(const ByteAlphabetStage&, std::string spelling) {
  return FromByteAlphabet(spelling).value_or(spelling);
}

std::string Apply(const ByteTokenStage&, std::string spelling) {
  uint32_t byte = 0;
  const bool is_byte = spelling.size() == 6 && absl::StartsWith(spelling, "<0x") &&
                       absl::EndsWith(spelling, ">") &&
                       absl::SimpleHexAtoi(spelling.substr(3, 2), &byte);
  return is_byte ? std::string(1, static_cast<char>(byte)) : spelling;
}

std::string Apply(const ReplaceStage& stage, std::string spelling) {
  return absl::StrReplaceAll(spelling, {{stage.from, stage.to}});
}

}  // namespace

std::string TextDecoder::BytesOf(absl::string_view spelling) const {
  std::string bytes(spelling);
  for (const DecoderStage& stage : stages_) {
    bytes = std::visit([&](const auto& s) { return Apply(s, std::move(bytes)); }, stage);
  }
  return bytes;
}

absl::string_view TextDecoder::Strip(absl::string_view text) const {
  for (size_t i = 0; i < most_stripped_; ++i) {
    if (!absl::ConsumePrefix(&text, stripped_)) break;
  }
  return text;
}

}  // namespace reprise::engine
