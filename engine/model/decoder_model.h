// DecoderModel: the one layer code of every family, over Backend. Owns the packed weights, the rope
// table and the activations, which are allocated for the largest batch seen and reused.
//
//     x = token embedding x scale (+ position embedding)
//     per layer:  x += output(attention(rope(head norm(qkv(norm(x))))))    KV goes into the blocks
//                 x += mlp_output(activation(mlp_input(norm(x)))), or those of some experts, each
//                      for the rows that the router sends it
//     logits = head(norm(x))
//
// where a family may also have a norm of what is added to x.
//
// In the last layer only the rows whose logits are wanted go on after their KV is written.
// Activations lie in host memory. Engine-thread only.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "engine/backend/rope_table.h"
#include "engine/model/activation_buffers.h"
#include "engine/model/decoder_weights.h"
#include "engine/model/expert_routing.h"
#include "engine/model/model.h"

namespace reprise::engine {

class DecoderModel final : public Model {
 public:
  // `backend` must outlive the model. REQUIRES: `weights` were loaded for `config`.
  DecoderModel(ModelConfig config, std::string digest, DecoderWeights weights, Backend* backend);

  const ModelConfig& config() const override { return config_; }
  const std::string& digest() const override { return digest_; }
  cachestore::KvLayout layout(int32_t block_tokens) const override;
  std::string position_scheme() const override;
  absl::Status Forward(absl::Span<const SequenceChunk> chunks, const cachestore::KvLayout& layout,
                       absl::Span<float> logits) override;

 private:
  struct Batch;

  absl::Status Check(absl::Span<const SequenceChunk> chunks, const cachestore::KvLayout& layout,
                     size_t num_logits) const;
  absl::Status CheckChunk(const SequenceChunk& chunk, const cachestore::KvLayout& layout) const;
  static absl::Status AwaitLayer(absl::Span<const SequenceChunk> chunks, int32_t layer);
  void Embed(const Batch& batch);
  // Both work on the rows of x and leave their result there.
  void Attend(const DecoderLayer& layer, int32_t index, const cachestore::KvLayout& layout,
              Batch* batch);
  void RunMlp(const DecoderLayer& layer);
  void RunExperts(const DecoderLayer& layer);
  void Normalize(const Norm& norm, Activations x, Activations out);
  // In place, each row or each head of a row by itself; nothing where the layer has no such norm.
  void NormalizeInPlace(const Norm& norm, Activations x);
  void NormalizeHeads(const Norm& norm, Activations x);
  void Project(const Linear& linear, Activations x, Activations out);

  const ModelConfig config_;
  const std::string digest_;
  const DecoderWeights weights_;
  Backend* const backend_;
  // Of the positions seen; none for learned ones.
  RopeTable rope_;
  std::optional<RopeTable> window_rope_;  // of layers with a window, where they have their own
  ActivationBuffers buffers_;
  std::vector<RoutedRows> routed_;  // of the layer at work, by expert
};

}  // namespace reprise::engine
