#include "api/inference_service.h"

#include <chrono>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "api/auth/caller.h"
#include "api/auth/principal.h"
#include "api/generate_stream.h"
#include "api/identity_codec.h"
#include "api/request_codec.h"
#include "api/status_codec.h"
#include "cachestore/base/status_macros.h"

namespace reprise::api {
namespace {

absl::Status NoModel() {
  return absl::FailedPreconditionError(
      "this server serves no model; start it with --model to generate");
}

// A call that ends with an error before anything was generated.
class RefusedStream final : public grpc::ServerWriteReactor<v1::GenerateResponse> {
 public:
  explicit RefusedStream(const absl::Status& status) { Finish(ToGrpc(status)); }
  void OnDone() override { delete this; }
};

grpc::ServerUnaryReactor* End(grpc::CallbackServerContext* context, const absl::Status& status) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(ToGrpc(status));
  return reactor;
}

// The tenant of a request that names `tenant`, which may be empty.
absl::StatusOr<std::string> TenantFor(const Principal& principal, const std::string& tenant) {
  ASSIGN_OR_RETURN(std::string allowed, TenantOf(principal, tenant));
  return allowed.empty() ? kDefaultTenant : allowed;
}

absl::StatusOr<std::vector<uint32_t>> Tokens(const engine::Engine& engine,
                                             const v1::TokenizeRequest& request) {
  switch (request.input_case()) {
    case v1::TokenizeRequest::kText:
      return TokenizeText(engine, request.text());
    case v1::TokenizeRequest::kConversation:
      return TokenizeConversation(engine, request.conversation());
    case v1::TokenizeRequest::INPUT_NOT_SET:
      break;
  }
  return absl::InvalidArgumentError("input is missing: set text or conversation");
}

}  // namespace

grpc::ServerWriteReactor<v1::GenerateResponse>* InferenceService::Generate(
    grpc::CallbackServerContext* context, const v1::GenerateRequest* request) {
  if (engine_ == nullptr) return new RefusedStream(NoModel());
  const Principal principal = PrincipalOf(*context);
  const absl::StatusOr<std::string> tenant = TenantFor(principal, request->tenant());
  if (!tenant.ok()) return new RefusedStream(tenant.status());
  absl::StatusOr<engine::GenerateRequest> parsed =
      FromProto(*engine_, *request, principal, *tenant);
  if (!parsed.ok()) return new RefusedStream(parsed.status());
  RequestIds ids = IdsOf(*context);
  parsed->request_id = std::move(ids.request_id);
  parsed->trace_parent = std::move(ids.trace_parent);
  if (context->deadline() < std::chrono::system_clock::time_point::max()) {
    parsed->deadline = absl::FromChrono(context->deadline());
  }
  const int32_t block_tokens =
      engine_->IdentityOf(parsed->tenant, parsed->salt).layout.block_tokens;
  return GenerateStream::Start(engine_, context, *std::move(parsed), block_tokens);
}

grpc::ServerUnaryReactor* InferenceService::Tokenize(grpc::CallbackServerContext* context,
                                                     const v1::TokenizeRequest* request,
                                                     v1::TokenizeResponse* response) {
  if (engine_ == nullptr) return End(context, NoModel());
  const absl::StatusOr<std::vector<uint32_t>> ids = Tokens(*engine_, *request);
  if (!ids.ok()) return End(context, ids.status());
  response->mutable_ids()->Assign(ids->begin(), ids->end());
  return End(context, absl::OkStatus());
}

absl::Status InferenceService::Describe(const Principal& principal,
                                        v1::GetModelResponse* model) const {
  ASSIGN_OR_RETURN(const std::string tenant, TenantFor(principal, ""));
  model->set_name(model_name_);
  model->set_architecture(engine_->model_config().architecture);
  model->set_max_positions(engine_->model_config().max_positions);
  model->set_vocab_size(engine_->model_config().vocab_size);
  *model->mutable_identity() = ToProto(engine_->IdentityOf(tenant, ""));
  return absl::OkStatus();
}

grpc::ServerUnaryReactor* InferenceService::GetModel(grpc::CallbackServerContext* context,
                                                     const v1::GetModelRequest* request,
                                                     v1::GetModelResponse* response) {
  if (engine_ == nullptr) return End(context, NoModel());
  return End(context, Describe(PrincipalOf(*context), response));
}

grpc::ServerUnaryReactor* InferenceService::ListModels(grpc::CallbackServerContext* context,
                                                       const v1::ListModelsRequest* request,
                                                       v1::ListModelsResponse* response) {
  if (engine_ == nullptr) return End(context, absl::OkStatus());
  return End(context, Describe(PrincipalOf(*context), response->add_models()));
}

}  // namespace reprise::api
