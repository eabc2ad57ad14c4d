// Reads "pre_tokenizer" of tokenizer.json. Pure function, thread-safe.
#pragma once

#include "absl/status/statusor.h"
#include "engine/tokenizer/bpe_symbols.h"
#include "engine/tokenizer/json_field.h"
#include "engine/tokenizer/pre_tokenizer.h"

namespace reprise::engine {

struct PreTokenizerParts {
  PreTokenizer pre_tokenizer;
  BpeAlphabet alphabet;  // of the pieces: bytes behind ByteLevel
};

// None, Metaspace, Split, Digits, or a sequence of these, with or without ByteLevel as the last.
// `root` is all of tokenizer.json. kInvalidArgument, with place and name, for another kind.
absl::StatusOr<PreTokenizerParts> ReadPreTokenizer(const JsonField& root);

}  // namespace reprise::engine
