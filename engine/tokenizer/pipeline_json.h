// Reads what stands around the model in tokenizer.json: "normalizer", "pre_tokenizer",
// "post_processor" and "decoder". Pure functions, thread-safe. All take the whole document and
// give kInvalidArgument, with place and name, for a kind that is not supported.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/tokenizer/json_field.h"
#include "engine/tokenizer/normalizer.h"
#include "engine/tokenizer/pre_tokenizer.h"
#include "engine/tokenizer/vocabulary.h"

namespace reprise::engine {

// Ids put around every text.
struct SurroundingIds {
  std::vector<uint32_t> leading;
  std::vector<uint32_t> trailing;
};

// None, NFC, or a sequence of these.
absl::StatusOr<Normalizer> ReadNormalizer(const JsonField& root);

// ByteLevel, alone or as the last of a sequence with Split and Digits.
absl::StatusOr<PreTokenizer> ReadPreTokenizer(const JsonField& root);

// None, ByteLevel (it trims offsets only), TemplateProcessing, or a sequence of these. Its ids
// must be in `vocabulary`.
absl::StatusOr<SurroundingIds> ReadPostProcessor(const JsonField& root,
                                                 const Vocabulary& vocabulary);

// ByteLevel.
absl::Status CheckDecoder(const JsonField& root);

}  // namespace reprise::engine
