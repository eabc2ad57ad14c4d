#include "engine/model/decoder_model.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cachestore/base/status_macros.h"
#include "engine/backend/kv_format.h"
#include "engine/model/json_object.h"
#include "engine/model/model_digest.h"

namespace reprise::engine {
namespace {

constexpr int64_t kMostConfigBytes = 16 << 20;

Activations FirstRows(Activations buffer, int64_t rows) { return {buffer.data, rows, buffer.cols}; }

}  // namespace

// The chunks as the backend wants them.
struct DecoderModel::Batch {
  explicit Batch(absl::Span<const SequenceChunk> chunks) {
    int64_t row = 0;
    for (const SequenceChunk& chunk : chunks) {
      const int64_t count = static_cast<int64_t>(chunk.tokens.size());
      sequences.push_back({row, count, chunk.start, chunk.blocks});
      ids.insert(ids.end(), chunk.tokens.begin(), chunk.tokens.end());
      end_position = std::max(end_position, chunk.start + count);
      row += count;
      if (chunk.wants_logits) last_rows.push_back(row - 1);
      arrives = arrives || chunk.arrival != nullptr;
    }
  }

  std::vector<SequenceRows> sequences;
  std::vector<uint32_t> ids;       // [rows]
  std::vector<int64_t> last_rows;  // rows whose logits are wanted
  int64_t end_position = 0;        // above all positions
  bool arrives = false;            // some KV comes layer by layer
};

DecoderModel::DecoderModel(ModelConfig config, std::string digest, DecoderWeights weights,
                           Backend* backend)
    : config_(std::move(config)),
      digest_(std::move(digest)),
      weights_(std::move(weights)),
      backend_(backend),
      rope_(config_.head_dim, config_.rope),
      buffers_(config_, backend) {
  if (config_.window_rope) window_rope_.emplace(config_.head_dim, *config_.window_rope);
}

cachestore::KvLayout DecoderModel::layout(int32_t block_tokens) const {
  return KvLayoutOf(config_, block_tokens);
}

std::string DecoderModel::position_scheme() const {
  if (config_.position == PositionKind::kLearned) return "learned";
  if (!config_.window_rope) return config_.rope.Name();
  return absl::StrCat(config_.rope.Name(), "; in windows ", config_.window_rope->Name());
}

absl::Status DecoderModel::CheckChunk(const SequenceChunk& chunk,
                                      const cachestore::KvLayout& layout) const {
  const int64_t count = static_cast<int64_t>(chunk.tokens.size());
  if (count == 0) return absl::InvalidArgumentError("a chunk has no tokens");
  if (chunk.start < 0 || chunk.start > config_.max_positions - count) {
    return absl::InvalidArgumentError(absl::StrCat(count, " tokens at position ", chunk.start,
                                                   " do not fit into the model's ",
                                                   config_.max_positions, " positions"));
  }
  const int64_t room = static_cast<int64_t>(chunk.blocks.size()) * layout.block_tokens;
  if (chunk.start + count > room) {
    return absl::InvalidArgumentError(absl::StrCat(chunk.blocks.size(), " blocks of ",
                                                   layout.block_tokens, " tokens do not cover ",
                                                   chunk.start + count, " positions"));
  }
  for (const uint32_t id : chunk.tokens) {
    if (id >= config_.vocab_size) {
      return absl::InvalidArgumentError(
          absl::StrCat("token id ", id, " is outside of the vocabulary of ", config_.vocab_size));
    }
  }
  return absl::OkStatus();
}

absl::Status DecoderModel::Check(absl::Span<const SequenceChunk> chunks,
                                 const cachestore::KvLayout& layout) const {
  const cachestore::KvLayout expected = WithDType(this->layout(layout.block_tokens), layout.dtype);
  if (layout.block_tokens <= 0 || layout != expected) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "blocks of %d layers, %d kv heads, head dim %d, %d tokens, scales \"%s\" are not of this "
        "model, which has %d layers, %d kv heads, head dim %d, scales \"%s\"",
        layout.num_layers, layout.num_kv_heads, layout.head_dim, layout.block_tokens,
        cachestore::KvScalesName(layout.scales), expected.num_layers, expected.num_kv_heads,
        expected.head_dim, cachestore::KvScalesName(expected.scales)));
  }
  RETURN_IF_ERROR(layout.Validate());
  for (const SequenceChunk& chunk : chunks) RETURN_IF_ERROR(CheckChunk(chunk, layout));
  return absl::OkStatus();
}

void DecoderModel::Normalize(const Norm& norm, Activations x, Activations out) {
  if (config_.norm == NormKind::kRms) {
    backend_->RmsNorm(x, norm.weight.view, config_.norm_epsilon, out);
  } else {
    backend_->LayerNorm(x, norm.weight.view, norm.bias.view, config_.norm_epsilon, out);
  }
}

void DecoderModel::Project(const Linear& linear, Activations x, Activations out) {
  backend_->MatMul(x, *linear.weight, linear.bias.view, out);
}

void DecoderModel::AddProjected(const Linear& linear, const Norm& norm, Activations from) {
  ActivationBuffers& b = buffers_;
  if (norm.weight.view.data == nullptr) {
    return backend_->MatMulAdd(from, *linear.weight, linear.bias.view, b.x);
  }
  Project(linear, from, b.hidden);
  Normalize(norm, b.hidden, b.hidden);
  backend_->Add(b.x, b.hidden);
}

absl::Status DecoderModel::AwaitLayer(absl::Span<const SequenceChunk> chunks, int32_t layer) {
  for (const SequenceChunk& chunk : chunks) {
    if (chunk.arrival != nullptr) RETURN_IF_ERROR(chunk.arrival->AwaitLayer(layer));
  }
  return absl::OkStatus();
}

void DecoderModel::Embed() {
  backend_->Embed(weights_.token_embedding.view, config_.embedding_scale, buffers_.x);
  if (config_.position == PositionKind::kLearned) {
    backend_->AddPositions(weights_.position_embedding.view, buffers_.x);
  }
}

void DecoderModel::Attend(const DecoderLayer& layer, int32_t index, const Batch& batch) {
  ActivationBuffers& b = buffers_;
  const int64_t window = config_.layers[index].window;
  Normalize(layer.attention_norm, b.x, b.hidden);
  Project(layer.qkv, b.hidden, b.qkv);
  HeadScheme heads = {layer.query_norm.weight.view, layer.key_norm.weight.view,
                      config_.norm_epsilon};
  if (config_.position == PositionKind::kRope) {
    heads.rope = window > 0 && window_rope_.has_value() ? &*window_rope_ : &rope_;
  }
  backend_->PrepareAttention(b.qkv, heads, index, b.q);
  const bool is_last = index + 1 == config_.num_layers;
  if (is_last) {
    // Nobody reads the other rows any more.
    b.KeepRows(batch.last_rows);
    if (batch.last_rows.empty()) return;
  }
  backend_->Attention(b.q, is_last ? StepRows::kKept : StepRows::kAll, index,
                      {config_.attention_scale, window, config_.attention_softcap}, b.attended);
  AddProjected(layer.attention_output, layer.attention_output_norm, b.attended);
}

absl::Status DecoderModel::RunMlp(const DecoderLayer& layer) {
  ActivationBuffers& b = buffers_;
  Normalize(layer.mlp_norm, b.x, b.hidden);
  if (!layer.experts.empty()) return RunExperts(layer);
  Project(layer.mlp.input, b.hidden, b.mlp_wide);
  backend_->Activate(config_.activation, b.mlp_wide, b.activated);
  AddProjected(layer.mlp.output, layer.mlp_output_norm, b.activated);
  return absl::OkStatus();
}

absl::Status DecoderModel::RunExperts(const DecoderLayer& layer) {
  ActivationBuffers& b = buffers_;
  Project(layer.router, b.hidden, b.router);
  ASSIGN_OR_RETURN(const absl::Span<float> logits, backend_->HostRows(b.router));
  RouteRows({logits.data(), b.router.rows, b.router.cols}, config_.experts, &routed_);
  // In the order of the experts, which fixes the order of the sum in each row.
  for (size_t e = 0; e < routed_.size(); ++e) {
    const RoutedRows& routed = routed_[e];
    if (routed.rows.empty()) continue;
    const auto rows = static_cast<int64_t>(routed.rows.size());
    const Activations hidden = FirstRows(b.expert_hidden, rows);
    const Activations wide = FirstRows(b.expert_wide, rows);
    const Activations activated = FirstRows(b.expert_activated, rows);
    backend_->GatherRows(b.hidden, routed.rows, hidden);
    Project(layer.experts[e].input, hidden, wide);
    backend_->Activate(config_.activation, wide, activated);
    Project(layer.experts[e].output, activated, hidden);
    backend_->AddScaledRows(hidden, routed.rows, routed.weights, b.x);
  }
  return absl::OkStatus();
}

absl::Status DecoderModel::RunLayers(absl::Span<const SequenceChunk> chunks, const Batch& batch) {
  Embed();
  for (size_t i = 0; i < weights_.layers.size(); ++i) {
    RETURN_IF_ERROR(AwaitLayer(chunks, static_cast<int32_t>(i)));
    Attend(weights_.layers[i], static_cast<int32_t>(i), batch);
    if (buffers_.x.rows == 0) return absl::OkStatus();
    RETURN_IF_ERROR(RunMlp(weights_.layers[i]));
  }
  Normalize(weights_.final_norm, buffers_.x, buffers_.hidden);
  Project(weights_.lm_head, buffers_.hidden, buffers_.logits);
  if (config_.logit_softcap > 0) backend_->SoftCap(buffers_.logits, config_.logit_softcap);
  return absl::OkStatus();
}

absl::StatusOr<Activations> DecoderModel::Forward(absl::Span<const SequenceChunk> chunks,
                                                  const cachestore::KvLayout& layout) {
  RETURN_IF_ERROR(Check(chunks, layout));
  const Batch batch(chunks);
  RETURN_IF_ERROR(buffers_.ResizeLogits(std::ssize(batch.last_rows)));
  if (chunks.empty()) return buffers_.logits;
  RETURN_IF_ERROR(buffers_.Resize(std::ssize(batch.ids)));
  if (config_.position == PositionKind::kRope) {
    RETURN_IF_ERROR(rope_.Cover(batch.end_position));
    if (window_rope_) RETURN_IF_ERROR(window_rope_->Cover(batch.end_position));
  }
  RETURN_IF_ERROR(
      backend_->BeginStep({batch.ids, batch.sequences, batch.last_rows, layout, batch.arrives}));
  RETURN_IF_ERROR(RunLayers(chunks, batch));
  RETURN_IF_ERROR(backend_->EndStep());
  return buffers_.logits;
}

absl::StatusOr<std::unique_ptr<Model>> LoadModel(const std::string& folder, Backend* backend) {
  ASSIGN_OR_RETURN(ModelConfig config, ReadModelConfig(folder));
  ASSIGN_OR_RETURN(const JsonObject config_json,
                   JsonObject::ReadFile(absl::StrCat(folder, "/config.json"), kMostConfigBytes));
  ASSIGN_OR_RETURN(const Checkpoint checkpoint, Checkpoint::Open(folder));
  ASSIGN_OR_RETURN(DecoderWeights weights, LoadDecoderWeights(checkpoint, config, backend));
  const std::string machine = backend->arithmetic();
  std::vector<absl::string_view> arithmetic = weights.LayerArithmetic();
  arithmetic.push_back(machine);
  std::string digest = ModelDigest(config_json.value(), checkpoint, arithmetic);
  return std::make_unique<DecoderModel>(std::move(config), std::move(digest), std::move(weights),
                                        backend);
}

}  // namespace reprise::engine
