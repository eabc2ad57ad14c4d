// OpenAiService: OpenAI's API over the engine: models, chat completions and completions.
// Thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "api/auth/principal.h"
#include "api/http/http_message.h"
#include "api/http/openai_request.h"
#include "api/log/request_ids.h"
#include "cachestore/store/tiered_store.h"
#include "engine/engine.h"

namespace reprise::api {

class OpenAiService {
 public:
  // Both must outlive the service. `engine` may be null: no model is served.
  OpenAiService(cachestore::TieredStore* store, engine::Engine* engine, std::string model_name);

  // The answers to GET /v1/models and /v1/models/`name`.
  HttpResponse ListModels() const;
  HttpResponse GetModel(absl::string_view name) const;

  // Answers a call by `principal`, sooner or later. Tokenizes on this thread.
  void Complete(OpenAiEndpoint endpoint, const HttpRequest& request, const Principal& principal,
                const RequestIds& ids, std::shared_ptr<HttpReply> reply) const;

 private:
  // Submits what `call` stands for; `reply` is answered then, also when the engine refuses it. Any
  // error is one of the call, which has not been answered.
  absl::Status StartAnswer(const OpenAiCall& call, const Principal& principal,
                           const RequestIds& ids, const std::shared_ptr<HttpReply>& reply) const;
  absl::Status CheckModel(const std::string& name) const;
  // Fills in what the client left to the server.
  absl::Status FillIn(const OpenAiCall& call, const RequestIds& ids,
                      engine::GenerateRequest* request) const;
  // Most new tokens behind `prompt_tokens` for which context and computing tier have room; at
  // least 1.
  int32_t RoomBehind(int64_t prompt_tokens) const;

  cachestore::TieredStore* const store_;
  engine::Engine* const engine_;
  const std::string model_name_;
  const int64_t created_;  // seconds since 1970
  std::string fingerprint_;
  int64_t usable_tokens_ = 0;  // of the tier that is computed on, for one sequence
};

}  // namespace reprise::api
