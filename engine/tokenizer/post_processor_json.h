// Reads "post_processor" of tokenizer.json. Pure function, thread-safe.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/tokenizer/json_field.h"
#include "engine/tokenizer/vocabulary.h"

namespace reprise::engine {

// Ids put around every text.
struct SurroundingIds {
  std::vector<uint32_t> leading;
  std::vector<uint32_t> trailing;
};

// None, ByteLevel (it trims offsets only), TemplateProcessing, or a sequence of these. Its ids
// must be in `vocabulary`. `root` is all of tokenizer.json. kInvalidArgument, with place and name,
// for another kind.
absl::StatusOr<SurroundingIds> ReadPostProcessor(const JsonField& root,
                                                 const Vocabulary& vocabulary);

}  // namespace reprise::engine
