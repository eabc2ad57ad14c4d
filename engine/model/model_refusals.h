// Which models are refused because cached KV of a prefix would not be valid for them, and why
// (design: KV reuse needs a causal model whose K and V do not depend on later tokens).
#pragma once

#include <string>

#include "absl/status/status.h"
#include "engine/model/json_object.h"

namespace reprise::engine {

// kInvalidArgument with the reason when `architecture` is an encoder or an encoder-decoder.
absl::Status RefuseEncoder(const JsonObject& config, const std::string& architecture);

// kInvalidArgument with the reason when `config` asks for a position scheme that rewrites the
// positions of tokens already seen (ReRoPE, self-extend, dynamic NTK, LongRoPE).
absl::Status RefuseMovingPositions(const JsonObject& config);

}  // namespace reprise::engine
