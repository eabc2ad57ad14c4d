// The card of a build without CUDA.
#include "engine/backend/cuda/open_card.h"

namespace reprise::engine::cuda {

absl::StatusOr<OpenedCard> OpenCard() {
  return absl::NotFoundError(
      "this build has no CUDA; to compute on a GPU, build where nvcc is, with -DREPRISE_CUDA=ON");
}

}  // namespace reprise::engine::cuda
