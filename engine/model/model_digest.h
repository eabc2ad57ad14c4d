// The digest that names a model in cache namespaces: equal for equal models, whatever their files.
#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "engine/model/checkpoint.h"
#include "nlohmann/json.hpp"

namespace reprise::engine {

// 32 hex digits: XXH3-128 over "reprise.model.v2", config.json in canonical form (sorted keys, no
// white space), `arithmetic` (of the packed weights and of the backend: a CPU that rounds
// activations to bf16, or sums in vectors of another width, must not take KV for its own that
// another computed) and, in name order, every tensor's name, dtype,
// shape and bytes (as XXH3-128 of each 64 MiB piece). How tensors are spread over shards does not
// matter. Reads every weight byte, on all cores. BLOCKS.
std::string ModelDigest(const nlohmann::json& config, const Checkpoint& checkpoint,
                        absl::Span<const absl::string_view> arithmetic);

}  // namespace reprise::engine
