// Model: a loaded decoder. Turns tokens of several sequences into logits, writing KV into the
// sequences' blocks. One layer code for every family (decoder_model.cc); a family is a description
// (families/). Engine-thread only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "cachestore/block/kv_layout.h"
#include "engine/backend/backend.h"
#include "engine/model/model_config.h"

namespace reprise::engine {

// KV before a chunk that is still on its way into the chunk's blocks, first layers first.
class LayerArrival {
 public:
  virtual ~LayerArrival() = default;
  // Waits until the KV of `layer` is there. BLOCKS. Any error: it will not be.
  virtual absl::Status AwaitLayer(int32_t layer) = 0;
};

// One sequence's share of a forward pass: `tokens` at positions [start, start + tokens.size()).
struct SequenceChunk {
  absl::Span<const uint32_t> tokens;
  int64_t start = 0;
  // KV blocks covering positions [0, start + tokens.size()); see SequenceRows.
  absl::Span<std::byte* const> blocks;
  // True when the logits of the chunk's last token are wanted.
  bool wants_logits = false;
  LayerArrival* arrival = nullptr;  // null: the KV of all positions before `start` is in `blocks`
};

class Model {
 public:
  virtual ~Model() = default;

  virtual const ModelConfig& config() const = 0;
  // Digest of config.json, of every weight byte and of how the backend multiplies by them (hex).
  // Two equal models have equal digests.
  virtual const std::string& digest() const = 0;
  // Layout of this model's KV in blocks of `block_tokens` tokens.
  virtual cachestore::KvLayout layout(int32_t block_tokens) const = 0;
  // What NamespaceIdentity.position_scheme must say for this model.
  virtual std::string position_scheme() const = 0;

  // Runs the chunks as one batch. Returns logits, [number of chunks that want them, vocab_size], in
  // the order of the chunks, until the next call; they lie in memory of the backend, which may
  // still be computing them (Backend::HostRows). Each layer of a chunk with an `arrival` is awaited
  // once, in order, before it is computed. kInvalidArgument: a token id or position outside of the
  // model; kResourceExhausted: no memory for the batch; the error of an AwaitLayer().
  virtual absl::StatusOr<Activations> Forward(absl::Span<const SequenceChunk> chunks,
                                              const cachestore::KvLayout& layout) = 0;
};

// Loads a Hugging Face folder (config.json, model.safetensors or model.safetensors.index.json with
// its shards). `backend` must outlive the model. BLOCKS. kNotFound: a file is missing;
// kInvalidArgument: malformed file, wrong shape, unknown architecture, or a kind of model that KV
// reuse is not valid for (encoders; position schemes that rewrite old positions), with the reason.
absl::StatusOr<std::unique_ptr<Model>> LoadModel(const std::string& folder, Backend* backend);

}  // namespace reprise::engine
