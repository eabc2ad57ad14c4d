// WeightNames: what a family calls its weights in a checkpoint, so that the loader and the layer
// code know no family. Names come without ".weight" and ".bias". Plain data.
#pragma once

#include <string>
#include <vector>

#include "engine/backend/backend.h"

namespace reprise::engine {

struct WeightNames {
  WeightOrder order = WeightOrder::kOutIn;  // of the linear weights; embeddings are [vocab, hidden]
  // What may stand before every name but lm_head's, first choice first: a model saved without its
  // head leaves its own name out.
  std::vector<std::string> prefixes;
  std::string token_embedding;
  std::string position_embedding;  // empty: none
  std::string final_norm;
  std::string lm_head;
  std::string layers;  // a layer's names start with this, its number and a dot
  // Within a layer. The parts of qkv and mlp_input become one matrix, in this order.
  std::string attention_norm;
  std::vector<std::string> qkv;
  std::string query_norm;  // of each head of q and k; empty: none
  std::string key_norm;
  std::string attention_output;
  std::string attention_output_norm;  // of what attention adds to the residual stream; empty: none
  std::string mlp_norm;
  std::vector<std::string> mlp_input;
  std::string mlp_output;
  std::string mlp_output_norm;  // of what the MLP adds; empty: none
  // Within a layer with experts; an expert's names start with `experts`, its number and a dot.
  std::string router;
  std::string experts;
  std::vector<std::string> expert_input;
  std::string expert_output;
  // Constants that some checkpoints carry and nobody reads; full names end with these.
  std::vector<std::string> ignored;
};

}  // namespace reprise::engine
