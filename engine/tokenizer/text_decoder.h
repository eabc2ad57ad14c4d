// TextDecoder: the "decoder" of tokenizer.json: the bytes that the spelling of a token stands for,
// and what is cut off the start of a text. Immutable, thread-safe.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/string_view.h"
#include "engine/tokenizer/normalizer.h"

namespace reprise::engine {

// Spellings are in the byte alphabet; others stand for themselves.
struct ByteAlphabetStage {};
// "<0x0A>" is the byte 0x0a.
struct ByteTokenStage {};

using DecoderStage = std::variant<ByteAlphabetStage, ByteTokenStage, ReplaceStage>;

class TextDecoder {
 public:
  // Of a text's start at most `most_stripped` times `stripped` is cut off.
  explicit TextDecoder(std::vector<DecoderStage> stages, std::string stripped = "",
                       size_t most_stripped = 0)
      : stages_(std::move(stages)), stripped_(std::move(stripped)), most_stripped_(most_stripped) {}

  std::string BytesOf(absl::string_view spelling) const;
  // `text` without what is cut off its start.
  absl::string_view Strip(absl::string_view text) const;

 private:
  std::vector<DecoderStage> stages_;
  std::string stripped_;
  size_t most_stripped_;
};

}  // namespace reprise::engine
