#include "engine/model/decoder_weights.h"

#include <new>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "cachestore/base/status_macros.h"

namespace reprise::engine {
namespace {

class Loader {
 public:
  Loader(const Checkpoint& checkpoint, const ModelConfig& config, Backend* backend)
      : config_(config), names_(config.names), reader_(checkpoint, backend) {}

  absl::StatusOr<DecoderWeights> Load();

 private:
  // The norm `name` of `prefix`; none when the family has no such name.
  absl::StatusOr<Norm> TakeNorm(const std::string& prefix, const std::string& name, int64_t size);
  // `parts` of `prefix`, one after another; from `inputs` to `outputs` each.
  absl::StatusOr<Linear> TakeParts(const std::string& prefix, const std::vector<std::string>& parts,
                                   std::vector<int64_t> outputs, int64_t inputs, bool has_bias);
  absl::StatusOr<DecoderLayer> TakeLayer(const std::string& prefix, const LayerConfig& layer);
  absl::Status TakeAttention(const std::string& prefix, DecoderLayer* layer);
  absl::StatusOr<Mlp> TakeMlp(const std::string& prefix);
  absl::Status TakeExperts(const std::string& prefix, DecoderLayer* layer);
  absl::StatusOr<Linear> TakeHead(const std::string& embedding_name);
  // Every tensor of the checkpoint was taken or is known to be of no use.
  absl::Status CheckAllUsed() const;
  std::string FindPrefix() const;

  const ModelConfig& config_;
  const WeightNames& names_;
  WeightReader reader_;
};

absl::StatusOr<Norm> Loader::TakeNorm(const std::string& prefix, const std::string& name,
                                      int64_t size) {
  Norm norm;
  if (name.empty()) return norm;
  ASSIGN_OR_RETURN(std::vector<float> weight,
                   reader_.TakeVector(absl::StrCat(prefix, name, ".weight"), size));
  if (config_.norm_adds_one) {
    for (float& w : weight) w += 1;
  }
  ASSIGN_OR_RETURN(norm.weight, reader_.Keep(weight));
  if (config_.norm == NormKind::kLayer) {
    ASSIGN_OR_RETURN(const std::vector<float> bias,
                     reader_.TakeVector(absl::StrCat(prefix, name, ".bias"), size));
    ASSIGN_OR_RETURN(norm.bias, reader_.Keep(bias));
  }
  return norm;
}

absl::StatusOr<Linear> Loader::TakeParts(const std::string& prefix,
                                         const std::vector<std::string>& parts,
                                         std::vector<int64_t> outputs, int64_t inputs,
                                         bool has_bias) {
  LinearShape shape = {{}, std::move(outputs), inputs, has_bias};
  for (const std::string& part : parts) shape.parts.push_back(absl::StrCat(prefix, part));
  return reader_.TakeLinear(shape, names_.order);
}

absl::Status Loader::TakeAttention(const std::string& prefix, DecoderLayer* layer) {
  const int64_t hidden = config_.hidden_size;
  const int64_t query = config_.num_heads * config_.head_dim;
  const int64_t key = config_.num_kv_heads * config_.head_dim;
  // A checkpoint may hold the parts as one tensor already.
  std::vector<int64_t> qkv = {query, key, key};
  if (names_.qkv.size() == 1) qkv = {query + 2 * key};
  ASSIGN_OR_RETURN(layer->attention_norm, TakeNorm(prefix, names_.attention_norm, hidden));
  ASSIGN_OR_RETURN(layer->qkv,
                   TakeParts(prefix, names_.qkv, std::move(qkv), hidden, config_.qkv_bias));
  ASSIGN_OR_RETURN(layer->query_norm, TakeNorm(prefix, names_.query_norm, config_.head_dim));
  ASSIGN_OR_RETURN(layer->key_norm, TakeNorm(prefix, names_.key_norm, config_.head_dim));
  ASSIGN_OR_RETURN(layer->attention_output, TakeParts(prefix, {names_.attention_output}, {hidden},
                                                      query, config_.attention_output_bias));
  ASSIGN_OR_RETURN(layer->attention_output_norm,
                   TakeNorm(prefix, names_.attention_output_norm, hidden));
  return absl::OkStatus();
}

absl::StatusOr<Mlp> Loader::TakeMlp(const std::string& prefix) {
  const int64_t hidden = config_.hidden_size;
  const int64_t inner = config_.intermediate_size;
  const std::vector<int64_t> outputs(names_.mlp_input.size(), inner);
  Mlp mlp;
  ASSIGN_OR_RETURN(mlp.input,
                   TakeParts(prefix, names_.mlp_input, outputs, hidden, config_.mlp_bias));
  ASSIGN_OR_RETURN(mlp.output,
                   TakeParts(prefix, {names_.mlp_output}, {hidden}, inner, config_.mlp_bias));
  return mlp;
}

absl::Status Loader::TakeExperts(const std::string& prefix, DecoderLayer* layer) {
  const int64_t hidden = config_.hidden_size;
  const int64_t inner = config_.experts.intermediate_size;
  const std::vector<int64_t> outputs(names_.expert_input.size(), inner);
  ASSIGN_OR_RETURN(layer->router,
                   TakeParts(prefix, {names_.router}, {config_.experts.count}, hidden, false));
  for (int64_t i = 0; i < config_.experts.count; ++i) {
    const std::string expert = absl::StrCat(prefix, names_.experts, i, ".");
    Mlp mlp;
    ASSIGN_OR_RETURN(mlp.input, TakeParts(expert, names_.expert_input, outputs, hidden, false));
    ASSIGN_OR_RETURN(mlp.output, TakeParts(expert, {names_.expert_output}, {hidden}, inner, false));
    layer->experts.push_back(std::move(mlp));
  }
  return absl::OkStatus();
}

absl::StatusOr<DecoderLayer> Loader::TakeLayer(const std::string& prefix,
                                               const LayerConfig& config) {
  DecoderLayer layer;
  RETURN_IF_ERROR(TakeAttention(prefix, &layer));
  ASSIGN_OR_RETURN(layer.mlp_norm, TakeNorm(prefix, names_.mlp_norm, config_.hidden_size));
  ASSIGN_OR_RETURN(layer.mlp_output_norm,
                   TakeNorm(prefix, names_.mlp_output_norm, config_.hidden_size));
  if (config.has_experts) {
    RETURN_IF_ERROR(TakeExperts(prefix, &layer));
  } else {
    ASSIGN_OR_RETURN(layer.mlp, TakeMlp(prefix));
  }
  return layer;
}

absl::StatusOr<Linear> Loader::TakeHead(const std::string& embedding_name) {
  const std::string name = absl::StrCat(names_.lm_head, ".weight");
  if (config_.tied_embeddings) {
    return reader_.TakeTiedHead(name, embedding_name, config_.vocab_size, config_.hidden_size);
  }
  return reader_.TakeLinear({{names_.lm_head}, {config_.vocab_size}, config_.hidden_size},
                            WeightOrder::kOutIn);
}

absl::Status Loader::CheckAllUsed() const {
  const std::string unused = reader_.FirstUnused(names_.ignored);
  if (unused.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(reader_.folder(), ": tensor ", unused,
                                                 " has no place in a ", config_.architecture,
                                                 " with this config.json"));
}

std::string Loader::FindPrefix() const {
  for (const std::string& prefix : names_.prefixes) {
    if (reader_.Has(absl::StrCat(prefix, names_.token_embedding, ".weight"))) return prefix;
  }
  return names_.prefixes.front();
}

absl::StatusOr<DecoderWeights> Loader::Load() {
  const std::string prefix = FindPrefix();
  const std::string embedding_name = absl::StrCat(prefix, names_.token_embedding);
  DecoderWeights weights;
  ASSIGN_OR_RETURN(weights.token_embedding,
                   reader_.TakeTable(absl::StrCat(embedding_name, ".weight"), config_.vocab_size,
                                     config_.hidden_size));
  if (config_.position == PositionKind::kLearned) {
    ASSIGN_OR_RETURN(weights.position_embedding,
                     reader_.TakeTable(absl::StrCat(prefix, names_.position_embedding, ".weight"),
                                       config_.max_positions, config_.hidden_size));
  }
  for (int64_t i = 0; i < config_.num_layers; ++i) {
    ASSIGN_OR_RETURN(DecoderLayer layer,
                     TakeLayer(absl::StrCat(prefix, names_.layers, i, "."), config_.layers[i]));
    weights.layers.push_back(std::move(layer));
  }
  ASSIGN_OR_RETURN(weights.final_norm, TakeNorm(prefix, names_.final_norm, config_.hidden_size));
  ASSIGN_OR_RETURN(weights.lm_head, TakeHead(absl::StrCat(embedding_name, ".weight")));
  RETURN_IF_ERROR(CheckAllUsed());
  return weights;
}

}  // namespace

std::vector<absl::string_view> DecoderWeights::LayerArithmetic() const {
  std::vector<absl::string_view> names;
  const auto add = [&names](const Linear& linear) {
    if (linear.weight != nullptr) names.push_back(linear.weight->arithmetic());
  };
  for (const DecoderLayer& layer : layers) {
    for (const Linear* linear : {&layer.qkv, &layer.attention_output, &layer.mlp.input,
                                 &layer.mlp.output, &layer.router}) {
      add(*linear);
    }
    for (const Mlp& expert : layer.experts) {
      add(expert.input);
      add(expert.output);
    }
  }
  return names;
}

absl::StatusOr<DecoderWeights> LoadDecoderWeights(const Checkpoint& checkpoint,
                                                  const ModelConfig& config, Backend* backend) {
  try {
    return Loader(checkpoint, config, backend).Load();
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError(
        absl::StrCat(checkpoint.folder(), ": not enough memory for the weights"));
  }
}

}  // namespace reprise::engine
