#include "engine/model/families/window_fields.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "cachestore/base/status_macros.h"
#include "engine/model/families/config_fields.h"

namespace reprise::engine {
namespace {

constexpr char kWindow[] = "sliding_window";
constexpr char kTypes[] = "layer_types";
constexpr char kUse[] = "use_sliding_window";

// At most all positions.
absl::StatusOr<int64_t> ReadWindow(const JsonObject& config, int64_t max_positions) {
  ASSIGN_OR_RETURN(const int64_t window, config.Int(kWindow, {1, INT64_MAX}));
  return std::min(window, max_positions);
}

}  // namespace

absl::Status ReadUniformWindow(const JsonObject& config, ModelConfig* out) {
  if (!config.value().contains(kWindow)) return config.Error(kWindow, "is missing");
  if (!config.Has(kWindow)) return absl::OkStatus();
  ASSIGN_OR_RETURN(const int64_t window, ReadWindow(config, out->max_positions));
  for (LayerConfig& layer : out->layers) layer.window = window;
  return absl::OkStatus();
}

absl::Status ReadLayerTypes(const JsonObject& config, ModelConfig* out) {
  const nlohmann::json& types = config.value().at(kTypes);
  if (!types.is_array() || types.size() != out->layers.size()) {
    return config.Error(kTypes, absl::StrCat("is ", ShortDump(types), "; it must be a list of ",
                                             out->layers.size(), " types, one for each layer"));
  }
  for (size_t i = 0; i < types.size(); ++i) {
    if (types[i] == "full_attention") continue;
    if (types[i] != "sliding_attention") {
      return config.Error(kTypes,
                          absl::StrCat("has ", ShortDump(types[i]), ", which is not supported; ",
                                       "supported: full_attention, sliding_attention"));
    }
    ASSIGN_OR_RETURN(out->layers[i].window, ReadWindow(config, out->max_positions));
  }
  return absl::OkStatus();
}

absl::Status ReadQwenWindows(const JsonObject& config, ModelConfig* out) {
  ASSIGN_OR_RETURN(const bool use, config.BoolOr(kUse, false));
  if (!use) return RefuseWindows(config);
  if (config.Has(kTypes)) return ReadLayerTypes(config, out);
  ASSIGN_OR_RETURN(const int64_t window, ReadWindow(config, out->max_positions));
  ASSIGN_OR_RETURN(const int64_t first, config.Int("max_window_layers", {0, INT64_MAX}));
  for (int64_t i = first; i < out->num_layers; ++i) out->layers[i].window = window;
  return absl::OkStatus();
}

absl::Status RefuseWindows(const JsonObject& config) {
  ASSIGN_OR_RETURN(const bool use, config.BoolOr(kUse, false));
  if (use) return config.Error(kUse, "is true, which is not supported in this architecture");
  if (!config.Has(kTypes)) return absl::OkStatus();
  for (const nlohmann::json& type : config.value().at(kTypes)) {
    if (type == "full_attention") continue;
    return config.Error(kTypes, absl::StrCat("has ", ShortDump(type), ", which is not supported ",
                                             "here; supported: full_attention"));
  }
  return absl::OkStatus();
}

}  // namespace reprise::engine
