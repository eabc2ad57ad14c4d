// Reads "decoder" of tokenizer.json. Pure function, thread-safe.
#pragma once

#include "absl/status/statusor.h"
#include "engine/tokenizer/bpe_symbols.h"
#include "engine/tokenizer/json_field.h"
#include "engine/tokenizer/text_decoder.h"

namespace reprise::engine {

// ByteLevel for an alphabet of bytes; for characters Replace of a text, ByteFallback, Fuse and
// Strip of the start, each at most where it stands in this list. `root` is all of tokenizer.json.
// kInvalidArgument, with place and name, for another one.
absl::StatusOr<TextDecoder> ReadTextDecoder(const JsonField& root, BpeAlphabet alphabet);

}  // namespace reprise::engine
