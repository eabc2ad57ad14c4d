#include "absl/strings/str_cat.h"
#include "cachestore/base/status_macros.h"
#include "engine/model/families/family.h"
#include "engine/model/families/llama_like.h"

namespace reprise::engine {

absl::Status ReadMistral(const JsonObject& config, ModelConfig* out) {
  out->family = "mistral";
  RETURN_IF_ERROR(RequireFields(config, {"num_key_value_heads"}));
  RETURN_IF_ERROR(ReadLlamaLike(config, out));
  if (!config.value().contains("sliding_window")) {
    return config.Error("sliding_window", "is missing; Mistral's default is a window of 4096");
  }
  ASSIGN_OR_RETURN(const int64_t window,
                   config.IntOr("sliding_window", {0, INT64_MAX}, out->max_positions));
  if (window < out->max_positions) {
    return config.Error(
        "sliding_window",
        absl::StrCat("is ", window, ", less than max_position_embeddings ", out->max_positions,
                     "; sliding-window attention is not "
                     "supported"));
  }
  return absl::OkStatus();
}

}  // namespace reprise::engine
