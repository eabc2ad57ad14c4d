#include "engine/model/model_refusals.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "cachestore/base/status_macros.h"

namespace reprise::engine {
namespace {

// Architectures whose names start so attend to later tokens, in all or part of the model. Some have
// decoders for cousins: Ernie4_5ForCausalLM, ModernBertDecoderForCausalLM.
constexpr absl::string_view kEncoderFamilies[] = {
    "Albert",     "Bart",          "Bert",
    "BigBird",    "Camembert",     "CLIP",
    "ConvBert",   "Data2Vec",      "Deberta",
    "DistilBert", "Electra",       "ErnieFor",
    "ErnieM",     "Flaubert",      "FNet",
    "Funnel",     "LayoutLM",      "Longformer",
    "LongT5",     "Luke",          "M2M100",
    "Marian",     "MBart",         "MegatronBert",
    "MobileBert", "ModernBertFor", "ModernBertModel",
    "MPNet",      "MT5",           "Nezha",
    "NomicBert",  "Nystromformer", "Pegasus",
    "RemBert",    "Roberta",       "RoFormer",
    "Splinter",   "SqueezeBert",   "SwitchTransformers",
    "T5",         "UMT5",          "Whisper",
    "XLM",        "XLNet"};

bool IsRewritingScheme(const std::string& name) {
  const std::string lower = absl::AsciiStrToLower(name);
  return absl::StrContains(lower, "rerope") || absl::StartsWith(lower, "self_extend") ||
         absl::StartsWith(lower, "selfextend");
}

// True for a value that switches something on: not null, false, 0 or "".
bool IsOn(const nlohmann::json& value) {
  return !(value.is_null() || value == false || value == 0 || value == "");
}

absl::Status CheckScheme(const JsonObject& config, const char* field) {
  if (!config.Has(field) || !config.value().at(field).is_object()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const JsonObject scaling, config.Object(field));
  for (const char* key : {"rope_type", "type"}) {
    ASSIGN_OR_RETURN(const std::string type, scaling.StringOr(key, ""));
    if (IsRewritingScheme(type)) {
      return scaling.Error(key, absl::StrCat("is \"", type,
                                             "\": it rewrites the positions of tokens "
                                             "already seen as the text grows, so cached KV of a "
                                             "prefix is not valid"));
    }
    if (type == "dynamic" || type == "longrope" || type == "su") {
      return scaling.Error(key, absl::StrCat("is \"", type,
                                             "\": its frequencies change with the length of the "
                                             "text, so cached KV of a prefix is not valid"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status RefuseEncoder(const JsonObject& config, const std::string& architecture) {
  ASSIGN_OR_RETURN(const bool encoder_decoder, config.BoolOr("is_encoder_decoder", false));
  bool is_encoder = encoder_decoder || absl::EndsWith(architecture, "ForMaskedLM") ||
                    absl::EndsWith(architecture, "EncoderModel");
  for (const absl::string_view family : kEncoderFamilies) {
    is_encoder = is_encoder || absl::StartsWith(architecture, family);
  }
  if (!is_encoder) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(config.origin(), ": ", architecture,
                   " is or has an encoder: an encoder lets earlier positions see later tokens, so "
                   "cached KV of a prefix is not valid"));
}

absl::Status RefuseMovingPositions(const JsonObject& config) {
  for (const auto& [field, value] : config.value().items()) {
    if (IsRewritingScheme(field) && IsOn(value)) {
      return config.Error(field.c_str(),
                          absl::StrCat("is ", ShortDump(value),
                                       ": this position scheme rewrites the "
                                       "positions of tokens already seen as the text grows, so "
                                       "cached KV of a prefix is not valid"));
    }
  }
  RETURN_IF_ERROR(CheckScheme(config, "rope_scaling"));
  return CheckScheme(config, "rope_parameters");
}

}  // namespace reprise::engine
