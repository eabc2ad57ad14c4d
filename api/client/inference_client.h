// InferenceClient: the Inference service of one server, with absl types. Thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "api/client/channel.h"
#include "reprise/v1/inference.grpc.pb.h"

namespace reprise::api {

namespace v1 = ::reprise::v1;

class InferenceClient {
 public:
  // A client of the server that listens on `address`. Connects on first use.
  explicit InferenceClient(const std::string& address, const ClientAccess& access = {});

  // Generates; `on_token` sees every chunk as it comes, on the calling thread. BLOCKS. Errors are
  // the server's; kUnavailable: no server at the address; kDeadlineExceeded: `timeout` has passed.
  absl::StatusOr<v1::GenerateSummary> Generate(
      const v1::GenerateRequest& request, absl::Duration timeout,
      absl::FunctionRef<void(const v1::TokenChunk&)> on_token);

  // Token ids of the request's text or conversation. BLOCKS.
  absl::StatusOr<std::vector<uint32_t>> Tokenize(const v1::TokenizeRequest& request,
                                                 absl::Duration timeout);

  // What is served. BLOCKS. kFailedPrecondition: the server serves no model.
  absl::StatusOr<v1::GetModelResponse> GetModel(absl::Duration timeout);

  // The same as a list, which is empty without a model. BLOCKS.
  absl::StatusOr<v1::ListModelsResponse> ListModels(absl::Duration timeout);

 private:
  const std::unique_ptr<v1::Inference::Stub> stub_;
};

}  // namespace reprise::api
