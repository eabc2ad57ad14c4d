// What the Gemma families share: Llama's layers with norms around attention and MLP alike, norms
// that multiply by 1 + weight, scaled embeddings and capped scores. Pure functions.
#pragma once

#include "absl/status/status.h"
#include "engine/model/json_object.h"
#include "engine/model/model_config.h"

namespace reprise::engine {

// The caps of a family's class, for configs that do not name them; 0: none.
struct GemmaSoftcaps {
  double attention = 0;
  double logits = 0;
};

// Fills what they share, all but positions, windows and query and key norms.
absl::Status ReadGemmaLike(const JsonObject& config, const GemmaSoftcaps& defaults,
                           ModelConfig* out);

}  // namespace reprise::engine
