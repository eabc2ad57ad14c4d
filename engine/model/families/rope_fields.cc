#include "engine/model/families/rope_fields.h"

#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"
#include "cachestore/base/status_macros.h"

namespace reprise::engine {
namespace {

constexpr char kOriginal[] = "original_max_position_embeddings";

// The context that the model was trained with before it was stretched; beside `rope` it counts
// more.
absl::StatusOr<double> ReadOriginalPositions(const JsonObject& config, const JsonObject& rope) {
  return config.Has(kOriginal) ? config.Positive(kOriginal) : rope.Positive(kOriginal);
}

absl::StatusOr<Llama3Rope> ReadLlama3(const JsonObject& config, const JsonObject& rope) {
  Llama3Rope out;
  ASSIGN_OR_RETURN(out.factor, rope.Positive("factor"));
  ASSIGN_OR_RETURN(out.low, rope.Positive("low_freq_factor"));
  ASSIGN_OR_RETURN(out.high, rope.Positive("high_freq_factor"));
  ASSIGN_OR_RETURN(out.original_positions, ReadOriginalPositions(config, rope));
  if (out.high <= out.low) {
    return rope.Error("high_freq_factor",
                      absl::StrCat("is ", out.high, ", not above ", "low_freq_factor ", out.low));
  }
  return out;
}

// How much the scores of a stretched context are sharpened.
double Magnitude(double factor, double weight) {
  return factor <= 1 ? 1 : 0.1 * weight * std::log(factor) + 1;
}

absl::StatusOr<YarnRope> ReadYarn(const JsonObject& config, const JsonObject& rope, double theta) {
  if (theta <= 1) return rope.Error("rope_theta", absl::StrCat("is ", theta, ", not above 1"));
  YarnRope out;
  ASSIGN_OR_RETURN(out.factor, rope.Positive("factor"));
  ASSIGN_OR_RETURN(out.beta_fast, rope.PositiveOr("beta_fast", 32));
  ASSIGN_OR_RETURN(out.beta_slow, rope.PositiveOr("beta_slow", 1));
  ASSIGN_OR_RETURN(out.original_positions, ReadOriginalPositions(config, rope));
  ASSIGN_OR_RETURN(out.truncate, rope.BoolOr("truncate", true));
  if (out.beta_fast < out.beta_slow) {
    return rope.Error("beta_fast",
                      absl::StrCat("is ", out.beta_fast, ", less than beta_slow ", out.beta_slow));
  }
  out.attention_factor = Magnitude(out.factor, 1);
  if (rope.Has("mscale") && rope.Has("mscale_all_dim")) {
    ASSIGN_OR_RETURN(const double scale, rope.Positive("mscale"));
    ASSIGN_OR_RETURN(const double all_dims, rope.Positive("mscale_all_dim"));
    out.attention_factor = Magnitude(out.factor, scale) / Magnitude(out.factor, all_dims);
  }
  ASSIGN_OR_RETURN(out.attention_factor, rope.PositiveOr("attention_factor", out.attention_factor));
  return out;
}

absl::Status RefusePartialRotation(const JsonObject& object) {
  ASSIGN_OR_RETURN(const double part, object.PositiveOr("partial_rotary_factor", 1));
  if (part == 1) return absl::OkStatus();
  return object.Error("partial_rotary_factor", "is not 1, which is not supported");
}

// The object with the scaling; empty when there is none.
absl::StatusOr<JsonObject> FindRopeObject(const JsonObject& config) {
  const bool is_new = config.Has("rope_parameters");
  if (is_new && config.Has("rope_scaling") &&
      config.value().at("rope_scaling") != config.value().at("rope_parameters")) {
    return config.Error("rope_scaling", "differs from rope_parameters; keep one of them");
  }
  if (is_new) return config.Object("rope_parameters");
  if (config.Has("rope_scaling")) return config.Object("rope_scaling");
  return JsonObject(nlohmann::json::object(), config.origin());
}

}  // namespace

absl::StatusOr<RopeScheme> ReadRopeScheme(const JsonObject& config, const JsonObject& rope,
                                          double theta) {
  for (const auto& [name, value] : rope.value().items()) {
    if (value.is_object()) {
      return rope.Error(name.c_str(),
                        "is an object; positions that differ by layer are not supported in this "
                        "architecture");
    }
  }
  RETURN_IF_ERROR(RefusePartialRotation(rope));
  RopeScheme scheme;
  ASSIGN_OR_RETURN(scheme.theta, rope.PositiveOr("rope_theta", theta));
  ASSIGN_OR_RETURN(const std::string old_name, rope.StringOr("type", "default"));
  ASSIGN_OR_RETURN(const std::string type, rope.StringOr("rope_type", old_name));
  if (type == "linear") {
    ASSIGN_OR_RETURN(const double factor, rope.Positive("factor"));
    scheme.scaling = LinearRope{factor};
  } else if (type == "llama3") {
    ASSIGN_OR_RETURN(scheme.scaling, ReadLlama3(config, rope));
  } else if (type == "yarn") {
    ASSIGN_OR_RETURN(scheme.scaling, ReadYarn(config, rope, scheme.theta));
  } else if (type != "default") {
    return rope.Error(rope.Has("rope_type") ? "rope_type" : "type",
                      absl::StrCat("is \"", type, "\", which is not supported; supported: ",
                                   "default, linear, llama3, yarn"));
  }
  return scheme;
}

absl::Status ReadRope(const JsonObject& config, ModelConfig* out) {
  out->position = PositionKind::kRope;
  RETURN_IF_ERROR(RefusePartialRotation(config));
  ASSIGN_OR_RETURN(const double theta, config.PositiveOr("rope_theta", out->rope.theta));
  ASSIGN_OR_RETURN(const JsonObject rope, FindRopeObject(config));
  ASSIGN_OR_RETURN(out->rope, ReadRopeScheme(config, rope, theta));
  return absl::OkStatus();
}

}  // namespace reprise::engine
