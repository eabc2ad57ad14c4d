// InferenceService: text in, text out, on gRPC's callback API: a generation waits for tokens most
// of its life, and hundreds may wait at once, so none of them holds a thread, and a client that
// goes away is heard of at once. Thread-safe.
#pragma once

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "api/auth/principal.h"
#include "engine/engine.h"
#include "reprise/v1/inference.grpc.pb.h"

namespace reprise::api {

class InferenceService final : public v1::Inference::CallbackService {
 public:
  // `engine` must outlive the service; nullptr: no model is served, and every call but
  // ListModels is answered FAILED_PRECONDITION.
  InferenceService(engine::Engine* engine, std::string model_name)
      : engine_(engine), model_name_(std::move(model_name)) {}

  grpc::ServerWriteReactor<v1::GenerateResponse>* Generate(
      grpc::CallbackServerContext* context, const v1::GenerateRequest* request) override;
  grpc::ServerUnaryReactor* Tokenize(grpc::CallbackServerContext* context,
                                     const v1::TokenizeRequest* request,
                                     v1::TokenizeResponse* response) override;
  grpc::ServerUnaryReactor* GetModel(grpc::CallbackServerContext* context,
                                     const v1::GetModelRequest* request,
                                     v1::GetModelResponse* response) override;
  grpc::ServerUnaryReactor* ListModels(grpc::CallbackServerContext* context,
                                       const v1::ListModelsRequest* request,
                                       v1::ListModelsResponse* response) override;

 private:
  // REQUIRES: a model is served.
  absl::Status Describe(const Principal& principal, v1::GetModelResponse* model) const;

  engine::Engine* const engine_;
  const std::string model_name_;
};

}  // namespace reprise::api
