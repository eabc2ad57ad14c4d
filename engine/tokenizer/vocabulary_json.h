// Reads "model" and "added_tokens" of tokenizer.json. Pure function, thread-safe.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "engine/tokenizer/added_tokens.h"
#include "engine/tokenizer/bpe_model.h"
#include "engine/tokenizer/json_field.h"
#include "engine/tokenizer/text_decoder.h"
#include "engine/tokenizer/vocabulary.h"

namespace reprise::engine {

// Ids are below this: far more than any vocabulary has, and the table by id stays small.
inline constexpr uint32_t kMaxTokens = 1u << 22;

struct VocabularyParts {
  Vocabulary vocabulary;
  BpeParts bpe;
  std::vector<AddedToken> added;
};

// `root` is all of tokenizer.json; pieces and tokens are spelt in `alphabet`, and `decoder` says
// what a spelling stands for. kInvalidArgument, with the place: a model that is not BPE, a
// malformed or missing field, an id out of range or given to two tokens, a byte without a token, a
// merge of tokens that the vocabulary lacks.
absl::StatusOr<VocabularyParts> ReadVocabulary(const JsonField& root, BpeAlphabet alphabet,
                                               const TextDecoder& decoder);

}  // namespace reprise::engine
