#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cachestore/base/status_macros.h"
#include "engine/model/families/config_fields.h"
#include "engine/model/families/family.h"
#include "engine/model/families/window_fields.h"

namespace reprise::engine {
namespace {

// Layers whose number, counted from 1, is a multiple of decoder_sparse_step have experts, but for
// those that mlp_only_layers names, counted from 0.
absl::Status ReadLayersWithExperts(const JsonObject& config, ModelConfig* out) {
  constexpr char kPlain[] = "mlp_only_layers";
  ASSIGN_OR_RETURN(const int64_t step, config.IntOr("decoder_sparse_step", kLayerRange, 1));
  for (int64_t i = 0; i < out->num_layers; ++i) out->layers[i].has_experts = (i + 1) % step == 0;
  if (!config.Has(kPlain)) return absl::OkStatus();
  const nlohmann::json& plain = config.value().at(kPlain);
  if (!plain.is_array()) {
    return config.Error(kPlain, absl::StrCat("is ", ShortDump(plain), "; it must be a list"));
  }
  for (const nlohmann::json& layer : plain) {
    if (!layer.is_number_unsigned() ||
        layer.get<uint64_t>() >= static_cast<uint64_t>(out->num_layers)) {
      return config.Error(kPlain, absl::StrCat("has ", ShortDump(layer), "; a layer is from 0 to ",
                                               out->num_layers - 1));
    }
    out->layers[layer.get<size_t>()].has_experts = false;
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadQwen3Moe(const JsonObject& config, ModelConfig* out) {
  RETURN_IF_ERROR(RefuseWindows(config));
  RETURN_IF_ERROR(ReadQwen3(config, out));
  out->family = "qwen3moe";
  const char* count = config.Has("num_experts") ? "num_experts" : "num_local_experts";
  RETURN_IF_ERROR(ReadExperts(config, count, "num_experts_per_tok", &out->experts));
  ASSIGN_OR_RETURN(out->experts.intermediate_size,
                   config.Int("moe_intermediate_size", kWidthRange));
  ASSIGN_OR_RETURN(out->experts.renormalize, config.BoolOr("norm_topk_prob", false));
  out->names.router = "mlp.gate";
  out->names.experts = "mlp.experts.";
  out->names.expert_input = {"gate_proj", "up_proj"};
  out->names.expert_output = "down_proj";
  return ReadLayersWithExperts(config, out);
}

}  // namespace reprise::engine
