#include "engine/backend/cuda/card/card_graphs.h"

#include <cuda_runtime_api.h>

#include <type_traits>
#include <utility>

#include "cachestore/base/status_macros.h"
#include "cachestore/memory/cuda/cuda_status.h"

namespace reprise::engine::cuda {
namespace {

using cachestore::CudaStatus;

struct CardGraph : GraphRecorder::Graph {
  explicit CardGraph(cudaGraphExec_t made) : exec(made) {}
  ~CardGraph() override { cudaGraphExecDestroy(exec); }  // once it does not run any more

  const cudaGraphExec_t exec;
};

class CardGraphs final : public GraphRecorder {
 public:
  CardGraphs(cachestore::Device* device, cudaStream_t stream) : device_(device), stream_(stream) {}
  ~CardGraphs() override { cudaStreamDestroy(stream_); }

  GraphOr Record(absl::FunctionRef<absl::Status(cudaStream_t)> give,
                 std::unique_ptr<Graph> old) override {
    ASSIGN_OR_RETURN(const Captured captured, Capture(give));
    if (old != nullptr) {
      cudaGraphExecUpdateResultInfo result;
      const auto exec = static_cast<CardGraph&>(*old).exec;
      if (cudaGraphExecUpdate(exec, captured.get(), &result) == cudaSuccess) return old;
      cudaGetLastError();  // it has other kernels
      old.reset();
    }
    cudaGraphExec_t exec = nullptr;
    RETURN_IF_ERROR(
        CudaStatus(cudaGraphInstantiate(&exec, captured.get(), 0), "cudaGraphInstantiate"));
    return std::make_unique<CardGraph>(exec);
  }

  absl::Status Launch(Graph& graph) override {
    const auto lane = static_cast<cudaStream_t>(device_->Stream(cachestore::Lane::kCompute));
    return CudaStatus(cudaGraphLaunch(static_cast<CardGraph&>(graph).exec, lane),
                      "cudaGraphLaunch");
  }

 private:
  using Captured = std::unique_ptr<std::remove_pointer_t<cudaGraph_t>, decltype(&cudaGraphDestroy)>;

  absl::StatusOr<Captured> Capture(absl::FunctionRef<absl::Status(cudaStream_t)> give) {
    RETURN_IF_ERROR(CudaStatus(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal),
                               "cudaStreamBeginCapture"));
    const absl::Status given = give(stream_);
    cudaGraph_t graph = nullptr;
    const absl::Status ended =
        CudaStatus(cudaStreamEndCapture(stream_, &graph), "cudaStreamEndCapture");
    Captured captured(graph, &cudaGraphDestroy);
    RETURN_IF_ERROR(given);
    RETURN_IF_ERROR(ended);
    return captured;
  }

  cachestore::Device* const device_;
  const cudaStream_t stream_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<GraphRecorder>> NewCardGraphs(cachestore::Device* device) {
  // Kernels keep the priority of the stream that they were captured on: the compute lane's.
  int lowest = 0;
  int highest = 0;
  RETURN_IF_ERROR(CudaStatus(cudaDeviceGetStreamPriorityRange(&lowest, &highest),
                             "cudaDeviceGetStreamPriorityRange"));
  cudaStream_t stream = nullptr;
  RETURN_IF_ERROR(CudaStatus(cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, highest),
                             "cudaStreamCreateWithPriority"));
  return std::make_unique<CardGraphs>(device, stream);
}

}  // namespace reprise::engine::cuda
