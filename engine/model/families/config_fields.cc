#include "engine/model/families/config_fields.h"

#include "absl/strings/str_cat.h"
#include "cachestore/base/status_macros.h"

namespace reprise::engine {

absl::Status ReadExperts(const JsonObject& config, const char* count_field,
                         const char* per_token_field, ExpertConfig* out) {
  ASSIGN_OR_RETURN(out->count, config.Int(count_field, kExpertRange));
  ASSIGN_OR_RETURN(out->per_token, config.Int(per_token_field, {1, out->count}));
  return absl::OkStatus();
}

absl::StatusOr<Activation> ReadActivation(const JsonObject& config, const char* field,
                                          const std::string& fallback, bool gated) {
  ASSIGN_OR_RETURN(const std::string name, config.StringOr(field, fallback));
  if (gated) {
    if (name == "silu" || name == "swish") return Activation::kSiluMul;
    if (name == "gelu_new" || name == "gelu_pytorch_tanh") return Activation::kGeluTanhMul;
    return config.Error(field, absl::StrCat("is \"", name,
                                            "\"; a gated MLP can have silu, "
                                            "gelu_new or gelu_pytorch_tanh"));
  }
  if (name == "gelu_new" || name == "gelu_pytorch_tanh") return Activation::kGeluTanh;
  if (name == "gelu") return Activation::kGeluErf;
  if (name == "relu") return Activation::kRelu;
  return config.Error(field, absl::StrCat("is \"", name,
                                          "\"; a plain MLP can have gelu_new, "
                                          "gelu_pytorch_tanh, gelu or relu"));
}

}  // namespace reprise::engine
