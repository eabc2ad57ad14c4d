#include "engine/backend/cuda/step_launches.h"

#include <utility>

#include "cachestore/base/status_macros.h"

namespace reprise::engine::cuda {

StepLaunches::StepLaunches(cachestore::Device* device, CudaProducts* products,
                           std::unique_ptr<GraphRecorder> recorder)
    : device_(device), products_(products) {
  if (recorder != nullptr) graphs_.emplace(std::move(recorder));
}

cudaStream_t StepLaunches::lane() {
  return static_cast<cudaStream_t>(device_->Stream(cachestore::Lane::kCompute));
}

absl::Status StepLaunches::GiveOps(cudaStream_t stream, const std::vector<StepOp>& ops) {
  for (const StepOp& op : ops) RETURN_IF_ERROR(GiveTo(stream, op, *products_));
  return absl::OkStatus();
}

void StepLaunches::Begin(std::optional<StepShape> shape) {
  shape_ = graphs_.has_value() ? shape : std::nullopt;
  held_.clear();
}

absl::Status StepLaunches::Give(StepOp op) {
  if (!shape_.has_value()) return GiveTo(lane(), op, *products_);
  held_.push_back(std::move(op));
  return absl::OkStatus();
}

absl::Status StepLaunches::GiveAll() {
  shape_.reset();
  const absl::Status status = GiveOps(lane(), held_);
  held_.clear();
  return status;
}

absl::Status StepLaunches::End() {
  if (!shape_.has_value()) return absl::OkStatus();
  const absl::Status status =
      graphs_->Run(*shape_, held_, lane(),
                   [this](cudaStream_t stream, const auto& ops) { return GiveOps(stream, ops); });
  shape_.reset();
  held_.clear();
  return status;
}

void StepLaunches::ForgetGraphs() {
  if (graphs_.has_value()) graphs_->Forget();
}

}  // namespace reprise::engine::cuda
