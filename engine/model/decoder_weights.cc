#include "engine/model/decoder_weights.h"

#include <cstring>
#include <new>
#include <set>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "cachestore/base/status_macros.h"
#include "engine/backend/cpu_elementwise.h"

namespace reprise::engine {
namespace {

enum class Bias { kNone, kStored };

// A linear weight of the checkpoint: its parts, the outputs of each, and the inputs they share.
struct LinearShape {
  std::vector<std::string> parts;  // names without ".weight"
  std::vector<int64_t> outputs;    // of each part
  int64_t inputs = 0;
  Bias bias = Bias::kNone;
};

class Loader {
 public:
  Loader(const Checkpoint& checkpoint, const ModelConfig& config, Backend* backend)
      : checkpoint_(checkpoint), config_(config), names_(config.names), backend_(backend) {}

  absl::StatusOr<DecoderWeights> Load();

 private:
  // The tensor, checked to have `shape` and a weight's dtype; counts as used from now on.
  absl::StatusOr<const StoredTensor*> Take(const std::string& name, std::vector<int64_t> shape);
  absl::StatusOr<std::vector<float>> TakeVector(const std::string& name, int64_t size);
  absl::StatusOr<OwnedMatrix> TakeTable(const std::string& name, int64_t rows);
  absl::StatusOr<Norm> TakeNorm(const std::string& name, int64_t size);
  absl::StatusOr<Linear> TakeLinear(const LinearShape& shape);
  absl::StatusOr<DecoderLayer> TakeLayer(const std::string& prefix);
  absl::StatusOr<Linear> TakeHead(const std::string& embedding_name, const OwnedMatrix& embedding);
  // Every tensor of the checkpoint was taken or is known to be of no use.
  absl::Status CheckAllUsed() const;
  std::string FindPrefix() const;

  const Checkpoint& checkpoint_;
  const ModelConfig& config_;
  const WeightNames& names_;
  Backend* const backend_;
  std::set<std::string> used_;
};

// The type in which tensors of these types are kept together.
ElementType KeptType(absl::Span<const StoredTensor* const> parts) {
  for (const StoredTensor* part : parts) {
    if (part->dtype != "BF16") return ElementType::kF32;
  }
  return ElementType::kBF16;
}

// Copies one tensor to `out` as `kept`.
void CopyAs(const StoredTensor& tensor, ElementType kept, std::byte* out) {
  if (kept == ElementType::kBF16) {
    std::memcpy(out, tensor.bytes.data(), tensor.bytes.size());
    return;
  }
  const ElementType stored = tensor.dtype == "F32"    ? ElementType::kF32
                             : tensor.dtype == "BF16" ? ElementType::kBF16
                                                      : ElementType::kF16;
  Widen(tensor.bytes.data(), stored, tensor.num_elements(), reinterpret_cast<float*>(out));
}

// The parts one after the other. A part of [out, in] is whole rows, so this joins their outputs.
OwnedMatrix Join(absl::Span<const StoredTensor* const> parts, int64_t rows, int64_t cols) {
  const ElementType kept = KeptType(parts);
  OwnedMatrix joined;
  joined.bytes.resize(rows * cols * ElementBytes(kept));
  std::byte* out = joined.bytes.data();
  for (const StoredTensor* part : parts) {
    CopyAs(*part, kept, out);
    out += part->num_elements() * ElementBytes(kept);
  }
  joined.view = {joined.bytes.data(), kept, rows, cols};
  return joined;
}

// As Join, but without a copy where the one part can be read in place. `storage` keeps the copy.
TensorView ViewOrJoin(absl::Span<const StoredTensor* const> parts, int64_t rows, int64_t cols,
                      OwnedMatrix* storage) {
  const StoredTensor& first = *parts.front();
  const bool aligned = reinterpret_cast<uintptr_t>(first.bytes.data()) % alignof(float) == 0;
  if (parts.size() == 1 && aligned && first.dtype != "F16") {
    return {first.bytes.data(), KeptType(parts), rows, cols};
  }
  *storage = Join(parts, rows, cols);
  return storage->view;
}

absl::StatusOr<const StoredTensor*> Loader::Take(const std::string& name,
                                                 std::vector<int64_t> shape) {
  const StoredTensor* tensor = checkpoint_.Find(name);
  if (tensor == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(checkpoint_.folder(), ": tensor \"", name,
                                                   "\" is missing; it should be ",
                                                   ShapeString(shape)));
  }
  RETURN_IF_ERROR(tensor->element_type(absl::StrCat(checkpoint_.folder(), ": ", name)).status());
  if (tensor->shape != shape) {
    return absl::InvalidArgumentError(absl::StrCat(checkpoint_.folder(), ": tensor \"", name,
                                                   "\" has shape ", ShapeString(tensor->shape),
                                                   "; config.json makes it ", ShapeString(shape)));
  }
  used_.insert(name);
  return tensor;
}

absl::StatusOr<std::vector<float>> Loader::TakeVector(const std::string& name, int64_t size) {
  ASSIGN_OR_RETURN(const StoredTensor* tensor, Take(name, {size}));
  std::vector<float> values(size);
  CopyAs(*tensor, ElementType::kF32, reinterpret_cast<std::byte*>(values.data()));
  return values;
}

absl::StatusOr<OwnedMatrix> Loader::TakeTable(const std::string& name, int64_t rows) {
  ASSIGN_OR_RETURN(const StoredTensor* tensor,
                   Take(absl::StrCat(name, ".weight"), {rows, config_.hidden_size}));
  return Join({tensor}, rows, config_.hidden_size);
}

absl::StatusOr<Norm> Loader::TakeNorm(const std::string& name, int64_t size) {
  Norm norm;
  ASSIGN_OR_RETURN(norm.weight, TakeVector(absl::StrCat(name, ".weight"), size));
  if (config_.norm == NormKind::kLayer) {
    ASSIGN_OR_RETURN(norm.bias, TakeVector(absl::StrCat(name, ".bias"), size));
  }
  return norm;
}

absl::StatusOr<Linear> Loader::TakeLinear(const LinearShape& shape) {
  const bool out_in = names_.order == WeightOrder::kOutIn;
  Linear linear;
  std::vector<const StoredTensor*> parts;
  int64_t outputs = 0;
  for (size_t i = 0; i < shape.parts.size(); ++i) {
    const int64_t out = shape.outputs[i];
    const std::string weight = absl::StrCat(shape.parts[i], ".weight");
    ASSIGN_OR_RETURN(const StoredTensor* part,
                     Take(weight, out_in ? std::vector<int64_t>{out, shape.inputs}
                                         : std::vector<int64_t>{shape.inputs, out}));
    parts.push_back(part);
    outputs += out;
    if (shape.bias == Bias::kStored) {
      ASSIGN_OR_RETURN(const std::vector<float> bias,
                       TakeVector(absl::StrCat(shape.parts[i], ".bias"), out));
      linear.bias.insert(linear.bias.end(), bias.begin(), bias.end());
    }
  }
  OwnedMatrix storage;
  const TensorView view = out_in ? ViewOrJoin(parts, outputs, shape.inputs, &storage)
                                 : ViewOrJoin(parts, shape.inputs, outputs, &storage);
  ASSIGN_OR_RETURN(linear.weight, backend_->Pack(view, names_.order));
  return linear;
}

absl::StatusOr<DecoderLayer> Loader::TakeLayer(const std::string& prefix) {
  const auto with_prefix = [&](const std::vector<std::string>& names) {
    std::vector<std::string> full;
    for (const std::string& name : names) full.push_back(absl::StrCat(prefix, name));
    return full;
  };
  const auto bias = [](bool stored) { return stored ? Bias::kStored : Bias::kNone; };
  const int64_t hidden = config_.hidden_size;
  const int64_t query = config_.num_heads * config_.head_dim;
  const int64_t key = config_.num_kv_heads * config_.head_dim;
  const int64_t inner = config_.intermediate_size;
  // A checkpoint may hold the parts as one tensor already.
  const std::vector<int64_t> qkv = names_.qkv.size() == 1 ? std::vector<int64_t>{query + 2 * key}
                                                          : std::vector<int64_t>{query, key, key};
  const std::vector<int64_t> mlp(names_.mlp_input.size(), inner);
  DecoderLayer layer;
  ASSIGN_OR_RETURN(layer.attention_norm,
                   TakeNorm(absl::StrCat(prefix, names_.attention_norm), hidden));
  ASSIGN_OR_RETURN(layer.qkv,
                   TakeLinear({with_prefix(names_.qkv), qkv, hidden, bias(config_.qkv_bias)}));
  if (!names_.query_norm.empty()) {
    ASSIGN_OR_RETURN(layer.query_norm,
                     TakeNorm(absl::StrCat(prefix, names_.query_norm), config_.head_dim));
    ASSIGN_OR_RETURN(layer.key_norm,
                     TakeNorm(absl::StrCat(prefix, names_.key_norm), config_.head_dim));
  }
  ASSIGN_OR_RETURN(layer.attention_output, TakeLinear({with_prefix({names_.attention_output}),
                                                       {hidden},
                                                       query,
                                                       bias(config_.attention_output_bias)}));
  ASSIGN_OR_RETURN(layer.mlp_norm, TakeNorm(absl::StrCat(prefix, names_.mlp_norm), hidden));
  ASSIGN_OR_RETURN(layer.mlp_input, TakeLinear({with_prefix(names_.mlp_input), mlp, hidden,
                                                bias(config_.mlp_bias)}));
  ASSIGN_OR_RETURN(
      layer.mlp_output,
      TakeLinear({with_prefix({names_.mlp_output}), {hidden}, inner, bias(config_.mlp_bias)}));
  return layer;
}

absl::StatusOr<Linear> Loader::TakeHead(const std::string& embedding_name,
                                        const OwnedMatrix& embedding) {
  const std::string name = absl::StrCat(names_.lm_head, ".weight");
  Linear head;
  if (!config_.tied_embeddings) {
    ASSIGN_OR_RETURN(const StoredTensor* tensor,
                     Take(name, {config_.vocab_size, config_.hidden_size}));
    OwnedMatrix storage;
    const TensorView view = ViewOrJoin({tensor}, config_.vocab_size, config_.hidden_size, &storage);
    ASSIGN_OR_RETURN(head.weight, backend_->Pack(view, WeightOrder::kOutIn));
    return head;
  }
  // Some checkpoints store the tied matrix twice; two different ones would be two models.
  if (const StoredTensor* copy = checkpoint_.Find(name); copy != nullptr) {
    const StoredTensor* original = checkpoint_.Find(embedding_name);
    if (copy->dtype != original->dtype || copy->bytes != original->bytes) {
      return absl::InvalidArgumentError(
          absl::StrCat(checkpoint_.folder(), ": tensor \"", name, "\" differs from \"",
                       embedding_name, "\", but config.json says tie_word_embeddings"));
    }
    used_.insert(name);
  }
  ASSIGN_OR_RETURN(head.weight, backend_->Pack(embedding.view, WeightOrder::kOutIn));
  return head;
}

absl::Status Loader::CheckAllUsed() const {
  for (const auto& [name, tensor] : checkpoint_.tensors()) {
    bool known = used_.count(name) > 0;
    for (const std::string& suffix : names_.ignored) known |= absl::EndsWith(name, suffix);
    if (!known) {
      return absl::InvalidArgumentError(
          absl::StrCat(checkpoint_.folder(), ": tensor \"", name, "\" ", ShapeString(tensor.shape),
                       " has no place in a ", config_.architecture, " with this config.json"));
    }
  }
  return absl::OkStatus();
}

std::string Loader::FindPrefix() const {
  for (const std::string& prefix : names_.prefixes) {
    if (checkpoint_.Find(absl::StrCat(prefix, names_.token_embedding, ".weight"))) return prefix;
  }
  return names_.prefixes.front();
}

absl::StatusOr<DecoderWeights> Loader::Load() {
  const std::string prefix = FindPrefix();
  const std::string embedding_name = absl::StrCat(prefix, names_.token_embedding);
  DecoderWeights weights;
  ASSIGN_OR_RETURN(weights.token_embedding, TakeTable(embedding_name, config_.vocab_size));
  if (config_.position == PositionKind::kLearned) {
    ASSIGN_OR_RETURN(
        weights.position_embedding,
        TakeTable(absl::StrCat(prefix, names_.position_embedding), config_.max_positions));
  }
  for (int64_t i = 0; i < config_.num_layers; ++i) {
    ASSIGN_OR_RETURN(DecoderLayer layer, TakeLayer(absl::StrCat(prefix, names_.layers, i, ".")));
    weights.layers.push_back(std::move(layer));
  }
  ASSIGN_OR_RETURN(weights.final_norm,
                   TakeNorm(absl::StrCat(prefix, names_.final_norm), config_.hidden_size));
  ASSIGN_OR_RETURN(weights.lm_head,
                   TakeHead(absl::StrCat(embedding_name, ".weight"), weights.token_embedding));
  RETURN_IF_ERROR(CheckAllUsed());
  return weights;
}

}  // namespace

TensorView Linear::bias_view() const {
  if (bias.empty()) return {};
  return {bias.data(), ElementType::kF32, 1, static_cast<int64_t>(bias.size())};
}

std::vector<absl::string_view> DecoderWeights::LayerArithmetic() const {
  std::vector<absl::string_view> names;
  for (const DecoderLayer& layer : layers) {
    for (const Linear* linear :
         {&layer.qkv, &layer.attention_output, &layer.mlp_input, &layer.mlp_output}) {
      names.push_back(linear->weight->arithmetic());
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
