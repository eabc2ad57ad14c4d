// The card of a build with CUDA.
#include "engine/backend/cuda/open_card.h"

#include <utility>

#include "cachestore/base/status_macros.h"
#include "engine/backend/cuda/card/card_graphs.h"
#include "engine/backend/cuda/cublaslt/cublaslt_products.h"
#include "engine/backend/cuda/cuda_backend.h"

namespace reprise::engine::cuda {

absl::StatusOr<OpenedCard> OpenCard() {
  OpenedCard card;
  ASSIGN_OR_RETURN(card.device, cachestore::OpenDevice());
  ASSIGN_OR_RETURN(const CublasLtLibrary library, LoadCublasLt());
  ASSIGN_OR_RETURN(std::unique_ptr<MemoryCopy> memory, MemoryCopy::Create(card.device.get()));
  ASSIGN_OR_RETURN(std::unique_ptr<CudaProducts> products,
                   CublasLtProducts::Create(memory.get(), library, NewEventTimer()));
  ASSIGN_OR_RETURN(std::unique_ptr<GraphRecorder> recorder, NewCardGraphs(card.device.get()));
  card.backend = NewCudaBackend(std::move(memory), std::move(products), std::move(recorder));
  return card;
}

}  // namespace reprise::engine::cuda
