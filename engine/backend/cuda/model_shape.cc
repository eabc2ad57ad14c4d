#include "engine/backend/cuda/model_shape.h"

#include "absl/strings/str_cat.h"
#include "engine/backend/cuda/kernels/generic_attention_params.h"

namespace reprise::engine::cuda {

absl::Status CheckModelShape(const ModelShape& shape) {
  if (shape.head_dim > kGenericMostDims) {
    return absl::InvalidArgumentError(
        absl::StrCat("this model's head_dim is ", shape.head_dim,
                     ", and attention on a GPU takes heads of at most ", kGenericMostDims,
                     " dims; compute it on the CPU"));
  }
  // Norms and activations read and write four numbers at a time.
  const struct {
    const char* name;
    int64_t value;
  } sizes[] = {{"hidden_size", shape.hidden_size},
               {"intermediate_size", shape.intermediate_size},
               {"intermediate size of its experts", shape.expert_intermediate_size}};
  for (const auto& [name, value] : sizes) {
    if (value % 4 == 0) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("this model's ", name, " is ", value,
                     ", and a GPU computes multiples of 4 only; compute it on the CPU"));
  }
  return absl::OkStatus();
}

}  // namespace reprise::engine::cuda
