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
// Activations lie in memory of the backend. Engine-thread only.
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
  absl::StatusOr<Activations> Forward(absl::Span<const SequenceChunk> chunks,
                                      const cachestore::KvLayout& layout) override;

 private:
  struct Batch;

  absl::Status Check(absl::Span<const SequenceChunk> chunks,
                     const cachestore::KvLayout& layout) const;
  absl::Status CheckChunk(const SequenceChunk& chunk, const cachestore::KvLayout& layout) const;
  static absl::Status AwaitLayer(absl::Span<const SequenceChunk> chunks, int32_t layer);
  // What the backend works on between BeginStep and EndStep.
  absl::Status RunLayers(absl::Span<const SequenceChunk> chunks, const Batch& batch);
  void Embed();
  // All three work on the rows of x and leave their result there.
  void Attend(const DecoderLayer& layer, int32_t index, const Batch& batch);
  absl::Status RunMlp(const DecoderLayer& layer);
  absl::Status RunExperts(const DecoderLayer& layer);
  void Normalize(const Norm& norm, Activations x, Activations out);
  void Project(const Linear& linear, Activations x, Activations out);
  // x += linear(from), normed first where the layer has such a norm.
  void AddProjected(const Linear& linear, const Norm& norm, Activations from);

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
