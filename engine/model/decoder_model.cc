#include "engine/model/decoder_model.h"

#include <algorithm>
#include <cstring>
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

// Splits each row of qkv into its three parts.
void SplitQkv(const ActivationBuffers& buffers) {
  const size_t query_bytes = buffers.q.cols * sizeof(float);
  const size_t key_bytes = buffers.k.cols * sizeof(float);
  for (int64_t r = 0; r < buffers.qkv.rows; ++r) {
    const float* source = buffers.qkv.row(r);
    std::memcpy(buffers.q.row(r), source, query_bytes);
    std::memcpy(buffers.k.row(r), source + buffers.q.cols, key_bytes);
    std::memcpy(buffers.v.row(r), source + buffers.q.cols + buffers.k.cols, key_bytes);
  }
}

Activations FirstRows(Activations buffer, int64_t rows) { return {buffer.data, rows, buffer.cols}; }

TensorView VectorView(const std::vector<float>& values) {
  return {values.data(), ElementType::kF32, 1, static_cast<int64_t>(values.size())};
}

}  // namespace

// The chunks as the backend wants them.
struct DecoderModel::Batch {
  explicit Batch(absl::Span<const SequenceChunk> chunks) {
    int64_t row = 0;
    for (const SequenceChunk& chunk : chunks) {
      const int64_t count = static_cast<int64_t>(chunk.tokens.size());
      sequences.push_back({row, count, chunk.start, chunk.blocks});
      ids.insert(ids.end(), chunk.tokens.begin(), chunk.tokens.end());
      for (int64_t i = 0; i < count; ++i) {
        positions.push_back(static_cast<int32_t>(chunk.start + i));
      }
      row += count;
      if (!chunk.wants_logits) continue;
      last_sequences.push_back(
          {static_cast<int64_t>(last_rows.size()), 1, chunk.start + count - 1, chunk.blocks});
      last_rows.push_back(row - 1);
    }
  }

  std::vector<SequenceRows> sequences;
  std::vector<uint32_t> ids;                 // [rows]
  std::vector<int32_t> positions;            // [rows]
  std::vector<int64_t> last_rows;            // rows whose logits are wanted
  std::vector<SequenceRows> last_sequences;  // those rows, when only they are left
};

DecoderModel::DecoderModel(ModelConfig config, std::string digest, DecoderWeights weights,
                           Backend* backend)
    : config_(std::move(config)),
      digest_(std::move(digest)),
      weights_(std::move(weights)),
      backend_(backend),
      rope_(config_.head_dim, config_.rope),
      buffers_(config_) {
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
                                 const cachestore::KvLayout& layout, size_t num_logits) const {
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
  size_t wanted = 0;
  for (const SequenceChunk& chunk : chunks) {
    RETURN_IF_ERROR(CheckChunk(chunk, layout));
    if (chunk.wants_logits) wanted += static_cast<size_t>(config_.vocab_size);
  }
  if (num_logits != wanted) {
    return absl::InvalidArgumentError(
        absl::StrCat("room for ", num_logits, " logits; the batch gives ", wanted));
  }
  return absl::OkStatus();
}

void DecoderModel::Normalize(const Norm& norm, Activations x, Activations out) {
  if (config_.norm == NormKind::kRms) {
    backend_->RmsNorm(x, VectorView(norm.weight), config_.norm_epsilon, out);
  } else {
    backend_->LayerNorm(x, VectorView(norm.weight), VectorView(norm.bias), config_.norm_epsilon,
                        out);
  }
}

void DecoderModel::NormalizeInPlace(const Norm& norm, Activations x) {
  if (!norm.weight.empty()) Normalize(norm, x, x);
}

void DecoderModel::NormalizeHeads(const Norm& norm, Activations x) {
  NormalizeInPlace(norm, {x.data, x.rows * (x.cols / config_.head_dim), config_.head_dim});
}

void DecoderModel::Project(const Linear& linear, Activations x, Activations out) {
  backend_->MatMul(x, *linear.weight, linear.bias_view(), out);
}

absl::Status DecoderModel::AwaitLayer(absl::Span<const SequenceChunk> chunks, int32_t layer) {
  for (const SequenceChunk& chunk : chunks) {
    if (chunk.arrival != nullptr) RETURN_IF_ERROR(chunk.arrival->AwaitLayer(layer));
  }
  return absl::OkStatus();
}

void DecoderModel::Embed(const Batch& batch) {
  backend_->Embed(weights_.token_embedding.view, batch.ids, buffers_.x);
  if (config_.embedding_scale != 1) backend_->Scale(buffers_.x, config_.embedding_scale);
  if (config_.position == PositionKind::kLearned) {
    backend_->AddPositions(weights_.position_embedding.view, batch.positions, buffers_.x);
  }
}

void DecoderModel::Attend(const DecoderLayer& layer, int32_t index,
                          const cachestore::KvLayout& layout, Batch* batch) {
  ActivationBuffers& b = buffers_;
  const int64_t window = config_.layers[index].window;
  Normalize(layer.attention_norm, b.x, b.hidden);
  Project(layer.qkv, b.hidden, b.qkv);
  SplitQkv(b);
  NormalizeHeads(layer.query_norm, b.q);
  NormalizeHeads(layer.key_norm, b.k);
  if (config_.position == PositionKind::kRope) {
    const bool own_rope = window > 0 && window_rope_.has_value();
    backend_->Rope(b.q, b.k, config_.head_dim, own_rope ? *window_rope_ : rope_, batch->positions);
  }
  backend_->AppendKv(b.k, b.v, batch->sequences, layout, index);
  if (index + 1 == config_.num_layers) {
    // Nobody reads the other rows any more.
    b.KeepRows(batch->last_rows);
    batch->sequences = batch->last_sequences;
    if (batch->last_rows.empty()) return;
  }
  backend_->Attention(b.q, batch->sequences, layout, index,
                      {config_.attention_scale, window, config_.attention_softcap}, b.attended);
  Project(layer.attention_output, b.attended, b.hidden);
  NormalizeInPlace(layer.attention_output_norm, b.hidden);
  backend_->Add(b.x, b.hidden);
}

void DecoderModel::RunMlp(const DecoderLayer& layer) {
  ActivationBuffers& b = buffers_;
  Normalize(layer.mlp_norm, b.x, b.hidden);
  if (!layer.experts.empty()) return RunExperts(layer);
  Project(layer.mlp.input, b.hidden, b.mlp_wide);
  backend_->Activate(config_.activation, b.mlp_wide, b.activated);
  Project(layer.mlp.output, b.activated, b.hidden);
  NormalizeInPlace(layer.mlp_output_norm, b.hidden);
  backend_->Add(b.x, b.hidden);
}

void DecoderModel::RunExperts(const DecoderLayer& layer) {
  ActivationBuffers& b = buffers_;
  Project(layer.router, b.hidden, b.router);
  RouteRows(b.router, config_.experts, &routed_);
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
}

absl::Status DecoderModel::Forward(absl::Span<const SequenceChunk> chunks,
                                   const cachestore::KvLayout& layout, absl::Span<float> logits) {
  RETURN_IF_ERROR(Check(chunks, layout, logits.size()));
  if (chunks.empty()) return absl::OkStatus();
  Batch batch(chunks);
  RETURN_IF_ERROR(buffers_.Resize(static_cast<int64_t>(batch.ids.size())));
  if (config_.position == PositionKind::kRope) {
    const int64_t end = *std::max_element(batch.positions.begin(), batch.positions.end()) + 1;
    RETURN_IF_ERROR(rope_.Cover(end));
    if (window_rope_) RETURN_IF_ERROR(window_rope_->Cover(end));
  }
  Embed(batch);
  for (size_t i = 0; i < weights_.layers.size(); ++i) {
    RETURN_IF_ERROR(AwaitLayer(chunks, static_cast<int32_t>(i)));
    Attend(weights_.layers[i], static_cast<int32_t>(i), layout, &batch);
    if (buffers_.x.rows == 0) return absl::OkStatus();
    RunMlp(weights_.layers[i]);
  }
  Normalize(weights_.final_norm, buffers_.x, buffers_.hidden);
  const Activations out = {logits.data(), buffers_.hidden.rows, config_.vocab_size};
  Project(weights_.lm_head, buffers_.hidden, out);
  if (config_.logit_softcap > 0) backend_->SoftCap(out, config_.logit_softcap);
  return absl::OkStatus();
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
