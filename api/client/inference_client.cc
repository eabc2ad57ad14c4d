#include "api/client/inference_client.h"

#include "api/client/unary_call.h"
#include "api/status_codec.h"

namespace reprise::api {

InferenceClient::InferenceClient(const std::string& address, const ClientAccess& access)
    : stub_(v1::Inference::NewStub(ConnectTo(address, access))) {}

absl::StatusOr<v1::GenerateSummary> InferenceClient::Generate(
    const v1::GenerateRequest& request, absl::Duration timeout,
    absl::FunctionRef<void(const v1::TokenChunk&)> on_token) {
  grpc::ClientContext context;
  SetTimeout(timeout, &context);
  const std::unique_ptr<grpc::ClientReader<v1::GenerateResponse>> reader =
      stub_->Generate(&context, request);
  v1::GenerateResponse response;
  v1::GenerateSummary summary;
  bool summary_came = false;
  while (reader->Read(&response)) {
    if (response.has_token()) on_token(response.token());
    if (response.has_summary()) {
      summary = response.summary();
      summary_came = true;
    }
  }
  if (const grpc::Status status = reader->Finish(); !status.ok()) return FromGrpc(status);
  if (!summary_came) return absl::InternalError("the server's stream ended without a summary");
  return summary;
}

absl::StatusOr<std::vector<uint32_t>> InferenceClient::Tokenize(const v1::TokenizeRequest& request,
                                                                absl::Duration timeout) {
  const auto response = CallUnary(*stub_, &v1::Inference::Stub::Tokenize, request, timeout);
  if (!response.ok()) return response.status();
  return std::vector<uint32_t>(response->ids().begin(), response->ids().end());
}

absl::StatusOr<v1::GetModelResponse> InferenceClient::GetModel(absl::Duration timeout) {
  return CallUnary(*stub_, &v1::Inference::Stub::GetModel, v1::GetModelRequest(), timeout);
}

absl::StatusOr<v1::ListModelsResponse> InferenceClient::ListModels(absl::Duration timeout) {
  return CallUnary(*stub_, &v1::Inference::Stub::ListModels, v1::ListModelsRequest(), timeout);
}

}  // namespace reprise::api
