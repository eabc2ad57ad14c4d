#include "engine/model/model_config.h"

#include <cmath>
#include <filesystem>
#include <system_error>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "cachestore/base/status_macros.h"
#include "engine/model/json_object.h"
#include "engine/model/model_refusals.h"

namespace reprise::engine {
namespace {

using Range = JsonObject::Range;

constexpr int64_t kMostConfigBytes = 16 << 20;
// Far above any model, and small enough that products of two stay in 63 bits.
constexpr Range kVocabRange = {1, 1 << 24};
constexpr Range kWidthRange = {1, 1 << 20};
constexpr Range kLayerRange = {1, 4096};
constexpr Range kHeadRange = {1, 1 << 14};
constexpr Range kPositionRange = {1, 1 << 21};

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

// Refuses a rope type other than "default"; RefuseMovingPositions has named its own reasons before.
absl::Status CheckRopeType(const JsonObject& rope) {
  ASSIGN_OR_RETURN(const std::string old_name, rope.StringOr("type", "default"));
  ASSIGN_OR_RETURN(const std::string type, rope.StringOr("rope_type", old_name));
  if (type == "default") return absl::OkStatus();
  return rope.Error(rope.Has("rope_type") ? "rope_type" : "type",
                    absl::StrCat("is \"", type, "\", which is not supported; supported: default"));
}

// Newer configs keep theta and scaling in rope_parameters, older ones in two fields of their own.
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

absl::Status RefuseSlidingLayers(const JsonObject& config) {
  if (!config.Has("layer_types")) return absl::OkStatus();
  const nlohmann::json& types = config.value().at("layer_types");
  for (const nlohmann::json& type : types) {
    if (type != "full_attention") {
      return config.Error("layer_types", absl::StrCat("has ", ShortDump(type),
                                                      ", which is not "
                                                      "supported; supported: full_attention"));
    }
  }
  return absl::OkStatus();
}

absl::Status ReadGpt2(const JsonObject& config, ModelConfig* out) {
  out->family = "gpt2";
  ASSIGN_OR_RETURN(out->hidden_size, config.Int("n_embd", kWidthRange));
  ASSIGN_OR_RETURN(out->num_layers, config.Int("n_layer", kLayerRange));
  ASSIGN_OR_RETURN(out->num_heads, config.Int("n_head", kHeadRange));
  ASSIGN_OR_RETURN(out->max_positions, config.Int("n_positions", kPositionRange));
  ASSIGN_OR_RETURN(out->intermediate_size,
                   config.IntOr("n_inner", kWidthRange, 4 * out->hidden_size));
  if (out->hidden_size % out->num_heads != 0) {
    return config.Error("n_embd", absl::StrCat("is ", out->hidden_size,
                                               ", not a multiple of n_head ", out->num_heads));
  }
  out->num_kv_heads = out->num_heads;
  out->head_dim = out->hidden_size / out->num_heads;
  out->norm = NormKind::kLayer;
  ASSIGN_OR_RETURN(out->norm_epsilon, config.PositiveOr("layer_norm_epsilon", 1e-5));
  out->position = PositionKind::kLearned;
  out->gated_mlp = false;
  ASSIGN_OR_RETURN(out->activation,
                   ReadActivation(config, "activation_function", "gelu_new", out->gated_mlp));
  out->qkv_bias = out->attention_output_bias = out->mlp_bias = true;
  ASSIGN_OR_RETURN(const bool scaled, config.BoolOr("scale_attn_weights", true));
  out->attention_scale = scaled ? 1 / std::sqrt(static_cast<float>(out->head_dim)) : 1;
  for (const char* field : {"scale_attn_by_inverse_layer_idx", "add_cross_attention"}) {
    ASSIGN_OR_RETURN(const bool on, config.BoolOr(field, false));
    if (on) return config.Error(field, "is true, which is not supported");
  }
  ASSIGN_OR_RETURN(out->tied_embeddings, config.BoolOr("tie_word_embeddings", true));
  return absl::OkStatus();
}

// What Llama, Mistral and Qwen2 share.
absl::Status ReadLlamaLike(const JsonObject& config, ModelConfig* out) {
  ASSIGN_OR_RETURN(out->hidden_size, config.Int("hidden_size", kWidthRange));
  ASSIGN_OR_RETURN(out->intermediate_size, config.Int("intermediate_size", kWidthRange));
  ASSIGN_OR_RETURN(out->num_layers, config.Int("num_hidden_layers", kLayerRange));
  ASSIGN_OR_RETURN(out->num_heads, config.Int("num_attention_heads", kHeadRange));
  ASSIGN_OR_RETURN(out->max_positions, config.Int("max_position_embeddings", kPositionRange));
  ASSIGN_OR_RETURN(out->num_kv_heads,
                   config.IntOr("num_key_value_heads", kHeadRange, out->num_heads));
  if (out->num_heads % out->num_kv_heads != 0) {
    return config.Error("num_attention_heads", absl::StrCat("is ", out->num_heads,
                                                            ", not a multiple of "
                                                            "num_key_value_heads ",
                                                            out->num_kv_heads));
  }
  if (!config.Has("head_dim") && out->hidden_size % out->num_heads != 0) {
    return config.Error("hidden_size", absl::StrCat("is ", out->hidden_size,
                                                    ", not a multiple of "
                                                    "num_attention_heads ",
                                                    out->num_heads));
  }
  ASSIGN_OR_RETURN(out->head_dim,
                   config.IntOr("head_dim", kWidthRange, out->hidden_size / out->num_heads));
  out->norm = NormKind::kRms;
  ASSIGN_OR_RETURN(out->norm_epsilon, config.PositiveOr("rms_norm_eps", 1e-6));
  out->gated_mlp = true;
  ASSIGN_OR_RETURN(out->activation, ReadActivation(config, "hidden_act", "silu", out->gated_mlp));
  out->attention_scale = 1 / std::sqrt(static_cast<float>(out->head_dim));
  ASSIGN_OR_RETURN(out->tied_embeddings, config.BoolOr("tie_word_embeddings", false));
  RETURN_IF_ERROR(RefuseSlidingLayers(config));
  return ReadRope(config, out);
}

absl::Status ReadLlama(const JsonObject& config, ModelConfig* out) {
  out->family = "llama";
  ASSIGN_OR_RETURN(const bool attention_bias, config.BoolOr("attention_bias", false));
  out->qkv_bias = out->attention_output_bias = attention_bias;
  ASSIGN_OR_RETURN(out->mlp_bias, config.BoolOr("mlp_bias", false));
  return ReadLlamaLike(config, out);
}

// Mistral and Qwen2 have defaults of their own for this field, which a config must not rely on.
absl::Status RequireKvHeads(const JsonObject& config) {
  return config.Int("num_key_value_heads", kHeadRange).status();
}

absl::Status ReadMistral(const JsonObject& config, ModelConfig* out) {
  out->family = "mistral";
  RETURN_IF_ERROR(RequireKvHeads(config));
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

absl::Status ReadQwen2(const JsonObject& config, ModelConfig* out) {
  out->family = "qwen2";
  out->qkv_bias = true;
  RETURN_IF_ERROR(RequireKvHeads(config));
  ASSIGN_OR_RETURN(const bool sliding, config.BoolOr("use_sliding_window", false));
  if (sliding) {
    return config.Error("use_sliding_window", "is true; sliding-window attention is not supported");
  }
  return ReadLlamaLike(config, out);
}

struct Architecture {
  const char* name;
  absl::Status (*read)(const JsonObject&, ModelConfig*);
};

constexpr Architecture kArchitectures[] = {{"GPT2LMHeadModel", ReadGpt2},
                                           {"LlamaForCausalLM", ReadLlama},
                                           {"MistralForCausalLM", ReadMistral},
                                           {"Qwen2ForCausalLM", ReadQwen2}};

absl::StatusOr<std::string> ReadArchitecture(const JsonObject& config) {
  if (!config.Has("architectures")) return config.Error("architectures", "is missing");
  const nlohmann::json& list = config.value().at("architectures");
  if (!list.is_array() || list.size() != 1 || !list[0].is_string()) {
    return config.Error("architectures",
                        absl::StrCat("is ", ShortDump(list), "; it must be a list of one name"));
  }
  return list[0].get<std::string>();
}

// Fills eos_token_ids from `config`; leaves them when it has none.
absl::Status ReadEosTokens(const JsonObject& config, ModelConfig* out) {
  constexpr char kField[] = "eos_token_id";
  if (!config.Has(kField)) return absl::OkStatus();
  const nlohmann::json& field = config.value().at(kField);
  const nlohmann::json list = field.is_array() ? field : nlohmann::json::array({field});
  std::vector<uint32_t> ids;
  for (const nlohmann::json& id : list) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() >= static_cast<uint64_t>(out->vocab_size)) {
      return config.Error(kField, absl::StrCat("has ", ShortDump(id), "; a token id is from 0 to ",
                                               out->vocab_size - 1));
    }
    ids.push_back(id.get<uint32_t>());
  }
  out->eos_token_ids = std::move(ids);
  return absl::OkStatus();
}

absl::Status ReadGenerationConfig(const std::string& path, ModelConfig* out) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return absl::OkStatus();
  ASSIGN_OR_RETURN(const JsonObject generation, JsonObject::ReadFile(path, kMostConfigBytes));
  return ReadEosTokens(generation, out);
}

}  // namespace

cachestore::KvLayout KvLayoutOf(const ModelConfig& config, int32_t block_tokens) {
  cachestore::KvLayout layout;
  layout.num_layers = static_cast<int32_t>(config.num_layers);
  layout.num_kv_heads = static_cast<int32_t>(config.num_kv_heads);
  layout.head_dim = static_cast<int32_t>(config.head_dim);
  layout.block_tokens = block_tokens;
  layout.dtype = cachestore::DType::kF32;
  return layout;
}

std::string SupportedArchitectures() {
  std::string names;
  for (const Architecture& architecture : kArchitectures) {
    absl::StrAppend(&names, names.empty() ? "" : ", ", architecture.name);
  }
  return names;
}

absl::StatusOr<ModelConfig> ReadModelConfig(const std::string& folder) {
  ASSIGN_OR_RETURN(const JsonObject config,
                   JsonObject::ReadFile(absl::StrCat(folder, "/config.json"), kMostConfigBytes));
  ModelConfig out;
  ASSIGN_OR_RETURN(out.architecture, ReadArchitecture(config));
  RETURN_IF_ERROR(RefuseEncoder(config, out.architecture));
  RETURN_IF_ERROR(RefuseMovingPositions(config));
  if (config.Has("quantization_config")) {
    return config.Error("quantization_config", "is there; quantised weights are not supported");
  }
  for (const Architecture& architecture : kArchitectures) {
    if (out.architecture != architecture.name) continue;
    ASSIGN_OR_RETURN(out.vocab_size, config.Int("vocab_size", kVocabRange));
    RETURN_IF_ERROR(architecture.read(config, &out));
    RETURN_IF_ERROR(ReadEosTokens(config, &out));
    RETURN_IF_ERROR(ReadGenerationConfig(absl::StrCat(folder, "/generation_config.json"), &out));
    return out;
  }
  return absl::InvalidArgumentError(
      absl::StrCat(config.origin(), ": architecture ", ShortDump(out.architecture),
                   " is not supported; supported: ", SupportedArchitectures()));
}

}  // namespace reprise::engine
