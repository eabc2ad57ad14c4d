// OpenCard: the machine's card, ready to compute on. Which of two answers is decided at link time:
// card/ where there is CUDA, none/ elsewhere.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "cachestore/memory/device.h"
#include "engine/backend/backend.h"

namespace reprise::engine::cuda {

struct OpenedCard {
  std::unique_ptr<cachestore::Device> device;  // outlives the backend, and the store's GPU tier
  std::unique_ptr<Backend> backend;
};

// The machine's first card (OpenDevice), with cuBLASLt's products. kNotFound: this build has no
// CUDA, or the machine lacks the card, its driver or cuBLASLt; the message says which, and what to
// do. kResourceExhausted: the card has no memory left. BLOCKS for a second or two.
absl::StatusOr<OpenedCard> OpenCard();

}  // namespace reprise::engine::cuda
