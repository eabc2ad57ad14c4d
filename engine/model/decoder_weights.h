// DecoderWeights: a decoder's weights in the backend's memory and layout, copied out of a
// checkpoint; nothing refers to the checkpoint afterwards. Matrices keep f32 and bf16 as stored
// (f16 becomes f32); norms and biases are f32. Query, key and value are one matrix, and so are gate
// and up.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "engine/backend/backend.h"
#include "engine/model/checkpoint.h"
#include "engine/model/model_config.h"
#include "engine/model/weight_reader.h"

namespace reprise::engine {

struct Norm {
  KeptTensor weight;  // [1, size]; none where a layer has no such norm
  KeptTensor bias;    // [1, size]; none for RMS norm
};

struct Mlp {
  Linear input;  // hidden -> gate | up, or hidden -> intermediate
  Linear output;
};

struct DecoderLayer {
  Norm attention_norm;
  Linear qkv;       // hidden -> query | key | value
  Norm query_norm;  // [head_dim], of each head; or none
  Norm key_norm;    // likewise
  Linear attention_output;
  Norm attention_output_norm;  // of what is added to the residual stream; or none
  Norm mlp_norm;
  Mlp mlp;                   // of a layer without experts
  Norm mlp_output_norm;      // of what is added to the residual stream; or none
  Linear router;             // hidden -> experts; of a layer with experts
  std::vector<Mlp> experts;  // likewise
};

struct DecoderWeights {
  KeptTensor token_embedding;
  KeptTensor position_embedding;  // none for rotary positions
  std::vector<DecoderLayer> layers;
  Norm final_norm;
  Linear lm_head;

  // PackedWeight::arithmetic() of every linear of the layers, in order.
  std::vector<absl::string_view> LayerArithmetic() const;
};

// kInvalidArgument: a tensor is missing, has another shape than `config` says (both are named) or a
// dtype that weights cannot have, or the checkpoint holds a tensor that this config does not use
// (the model would not be what its author trained). kResourceExhausted: no memory.
absl::StatusOr<DecoderWeights> LoadDecoderWeights(const Checkpoint& checkpoint,
                                                  const ModelConfig& config, Backend* backend);

}  // namespace reprise::engine
