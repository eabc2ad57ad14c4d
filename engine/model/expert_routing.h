// Which experts compute which rows. Pure; a row's experts and weights depend on its router logits
// alone.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/backend/tensor.h"
#include "engine/model/model_config.h"

namespace reprise::engine {

// What one expert computes.
struct RoutedRows {
  std::vector<int64_t> rows;   // ascending
  std::vector<float> weights;  // of its output for each of them
};

// out[e]: the rows of expert e, [config.count]. Each row goes to the config.per_token experts with
// the largest of its `logits` [rows, config.count]; of equal ones the first wins.
// REQUIRES: logits.cols == config.count, 1 <= config.per_token <= config.count.
void RouteRows(Activations logits, const ExpertConfig& config, std::vector<RoutedRows>* out);

}  // namespace reprise::engine
