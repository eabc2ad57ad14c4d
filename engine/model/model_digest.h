// The digest that names a model in cache namespaces: equal for equal models, whatever their files.
#pragma once

#include <string>

#include "engine/model/checkpoint.h"
#include "nlohmann/json.hpp"

namespace reprise::engine {

// 32 hex digits: XXH3-128 over "reprise.model.v1", config.json in canonical form (sorted keys, no
// white space) and, in name order, every tensor's name, dtype, shape and bytes (as XXH3-128 of each
// 64 MiB piece). How tensors are spread over shards does not matter. Reads every weight byte, on
// all cores. BLOCKS.
std::string ModelDigest(const nlohmann::json& config, const Checkpoint& checkpoint);

}  // namespace reprise::engine
