// What prefill costs, by a token's place in its prompt. Pure functions.
#pragma once

#include <cstdint>

#include "engine/model/model_config.h"

namespace reprise::engine {

// How far into a prompt a token's attention to what comes before takes as many operations as all
// else that is computed for it (cachestore's StoreOptions::attention_tokens); 0 where no layer
// attends to all of it. A layer takes 2 operations for each weight that the token goes through,
// and 4 x heads x head dim for each token before it: a product with its key, another with its
// value.
int64_t AttentionTokens(const ModelConfig& config);

}  // namespace reprise::engine
