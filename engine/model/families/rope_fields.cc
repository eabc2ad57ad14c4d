#include "engine/model/families/rope_fields.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "cachestore/base/status_macros.h"

namespace reprise::engine {
namespace {

// Refuses a rope type other than "default"; RefuseMovingPositions has named its own reasons before.
absl::Status CheckRopeType(const JsonObject& rope) {
  ASSIGN_OR_RETURN(const std::string old_name, rope.StringOr("type", "default"));
  ASSIGN_OR_RETURN(const std::string type, rope.StringOr("rope_type", old_name));
  if (type == "default") return absl::OkStatus();
  return rope.Error(rope.Has("rope_type") ? "rope_type" : "type",
                    absl::StrCat("is \"", type, "\", which is not supported; supported: default"));
}

}  // namespace

absl::Status ReadRope(const JsonObject& config, ModelConfig* out) {
  out->position = PositionKind::kRope;
  ASSIGN_OR_RETURN(out->rope_theta, config.PositiveOr("rope_theta", 10000));
  for (const char* field : {"rope_scaling", "rope_parameters"}) {
    if (!config.Has(field)) continue;
    ASSIGN_OR_RETURN(const JsonObject rope, config.Object(field));
    RETURN_IF_ERROR(CheckRopeType(rope));
    ASSIGN_OR_RETURN(out->rope_theta, rope.PositiveOr("rope_theta", out->rope_theta));
    for (const auto& [name, value] : rope.value().items()) {
      if (value.is_object()) {
        return rope.Error(name.c_str(),
                          "is an object; positions that differ by layer are not "
                          "supported");
      }
    }
    ASSIGN_OR_RETURN(const double part, rope.PositiveOr("partial_rotary_factor", 1));
    if (part != 1) return rope.Error("partial_rotary_factor", "is not 1, which is not supported");
  }
  ASSIGN_OR_RETURN(const double part, config.PositiveOr("partial_rotary_factor", 1));
  if (part != 1) return config.Error("partial_rotary_factor", "is not 1, which is not supported");
  if (out->head_dim % 2 != 0) {
    return config.Error("head_dim",
                        absl::StrCat("is ", out->head_dim, "; rotary positions need an even one"));
  }
  return absl::OkStatus();
}

}  // namespace reprise::engine
