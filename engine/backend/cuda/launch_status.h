// What a launcher answered, as a status. Pure.
#pragma once

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "engine/backend/cuda/kernels/runtime_types.h"

namespace reprise::engine::cuda {

// `kernel`: its name, for the message.
inline absl::Status LaunchStatus(cudaError_t error, absl::string_view kernel) {
  if (error == cudaSuccess) return absl::OkStatus();
  return absl::InternalError(absl::StrCat(
      "the kernel for ", kernel, " could not be started: CUDA error ", static_cast<int>(error)));
}

}  // namespace reprise::engine::cuda
