// Reads "normalizer" of tokenizer.json. Pure function, thread-safe.
#pragma once

#include "absl/status/statusor.h"
#include "engine/tokenizer/json_field.h"
#include "engine/tokenizer/normalizer.h"

namespace reprise::engine {

// Replace writes one text for another.
absl::StatusOr<ReplaceStage> ReadReplace(const JsonField& replace);

// None, NFC, Prepend, Replace of a text, or a sequence of these. `root` is all of tokenizer.json.
// kInvalidArgument, with place and name, for another kind.
absl::StatusOr<Normalizer> ReadNormalizer(const JsonField& root);

}  // namespace reprise::engine
