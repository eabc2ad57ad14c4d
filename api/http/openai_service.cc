#include "api/http/openai_service.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "absl/random/random.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "api/http/id_headers.h"
#include "api/http/openai_answer.h"
#include "api/http/openai_error.h"
#include "api/http/openai_shape.h"
#include "api/limits.h"
#include "api/request_codec.h"
#include "cachestore/base/status_macros.h"
#include "engine/sched/block_budget.h"

namespace reprise::api {
namespace {

// What OpenAI's API gives a completion, and only that, where the client says nothing.
constexpr int32_t kDefaultCompletionTokens = 16;

// The parameter that holds the prompt.
const char* PromptParam(OpenAiEndpoint endpoint) {
  return endpoint == OpenAiEndpoint::kChat ? "messages" : "prompt";
}

}  // namespace

OpenAiService::OpenAiService(cachestore::TieredStore* store, engine::Engine* engine,
                             std::string model_name)
    : store_(store),
      engine_(engine),
      model_name_(std::move(model_name)),
      created_(absl::ToUnixSeconds(absl::Now())) {
  if (engine_ == nullptr) return;
  const cachestore::NamespaceIdentity identity = engine_->IdentityOf(kDefaultTenant, "");
  fingerprint_ = absl::StrCat("fp_", identity.model_digest.substr(0, 12));
  const absl::StatusOr<cachestore::NamespaceHandle> ns = engine_->NamespaceOf(kDefaultTenant, "");
  if (!ns.ok()) return;
  const engine::BlockBudget budget(store_->capacity_blocks(*ns, store_->compute_tier()),
                                   ns->layout.block_tokens, engine_->model_config().max_positions);
  usable_tokens_ = budget.usable_blocks() * ns->layout.block_tokens;
}

HttpResponse OpenAiService::GetModel(absl::string_view name) const {
  const absl::Status known = CheckModel(std::string(name));
  if (!known.ok()) return OpenAiErrorResponse(known);
  nlohmann::ordered_json model = {{"id", model_name_},
                                  {"object", "model"},
                                  {"created", created_},
                                  {"owned_by", "reprise"},
                                  {"max_model_len", engine_->model_config().max_positions}};
  return {.body = model.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace)};
}

HttpResponse OpenAiService::ListModels() const {
  if (engine_ == nullptr) return {.body = "{\"object\":\"list\",\"data\":[]}"};
  return {.body =
              absl::StrCat("{\"object\":\"list\",\"data\":[", GetModel(model_name_).body, "]}")};
}

absl::Status OpenAiService::CheckModel(const std::string& name) const {
  if (engine_ == nullptr) {
    return WithParam(
        absl::NotFoundError("this server serves no model; start it with --model to generate"),
        "model", "model_not_found");
  }
  if (name.empty() || name == model_name_) return absl::OkStatus();
  return WithParam(absl::NotFoundError(absl::StrCat("the model \"", name.substr(0, kMaxEchoBytes),
                                                    "\" is not served here; this server has \"",
                                                    model_name_, "\"")),
                   "model", "model_not_found");
}

int32_t OpenAiService::RoomBehind(int64_t prompt_tokens) const {
  const int64_t in_context = engine_->model_config().max_positions - prompt_tokens;
  // The last new token needs no place in the cache.
  const int64_t in_tier = usable_tokens_ - prompt_tokens + 1;
  return static_cast<int32_t>(
      std::clamp<int64_t>(std::min(in_context, in_tier), 1, std::numeric_limits<int32_t>::max()));
}

absl::Status OpenAiService::FillIn(const OpenAiCall& call, const RequestIds& ids,
                                   engine::GenerateRequest* request) const {
  const auto prompt_tokens = static_cast<int64_t>(request->prompt.size());
  const int64_t context = engine_->model_config().max_positions;
  if (prompt_tokens > context) {
    return ParamError(PromptParam(call.endpoint),
                      absl::StrCat("the prompt has ", prompt_tokens,
                                   " tokens, but this model's context is ", context, " tokens"),
                      "context_length_exceeded");
  }
  if (call.prompts[0].stop().max_new_tokens() == 0) {
    const bool is_chat = call.endpoint == OpenAiEndpoint::kChat;
    request->stop.max_new_tokens = is_chat ? RoomBehind(prompt_tokens) : kDefaultCompletionTokens;
  }
  if (!call.has_seed) {
    absl::BitGen random;
    request->sampling.seed = absl::Uniform<uint64_t>(random);
  }
  request->request_id = ids.request_id;
  request->trace_parent = ids.trace_parent;
  return absl::OkStatus();
}

absl::Status OpenAiService::StartAnswer(const OpenAiCall& call, const Principal& principal,
                                        const RequestIds& ids,
                                        const std::shared_ptr<HttpReply>& reply) const {
  RETURN_IF_ERROR(CheckModel(call.model));
  ASSIGN_OR_RETURN(const std::string tenant, TenantOf(principal, ""));
  std::vector<engine::GenerateRequest> requests;
  for (const v1::GenerateRequest& prompt : call.prompts) {
    absl::StatusOr<engine::GenerateRequest> request =
        FromProto(*engine_, prompt, principal, tenant);
    if (!request.ok()) return WithParam(request.status(), PromptParam(call.endpoint));
    RETURN_IF_ERROR(FillIn(call, ids, &*request));
    requests.push_back(*std::move(request));
  }
  const OpenAiShape::Labels labels = {.endpoint = call.endpoint,
                                      .id = RandomRequestId(),
                                      .created = absl::ToUnixSeconds(absl::Now()),
                                      .model = model_name_,
                                      .fingerprint = fingerprint_,
                                      .include_usage = call.include_usage};
  OpenAiAnswer::Start(engine_, call, labels, ids, std::move(requests), reply);
  return absl::OkStatus();
}

void OpenAiService::Complete(OpenAiEndpoint endpoint, const HttpRequest& request,
                             const Principal& principal, const RequestIds& ids,
                             std::shared_ptr<HttpReply> reply) const {
  const absl::StatusOr<OpenAiCall> call = ParseOpenAiCall(endpoint, request.body);
  const absl::Status status = call.ok() ? StartAnswer(*call, principal, ids, reply) : call.status();
  if (status.ok()) return;
  HttpResponse response = OpenAiErrorResponse(status);
  Echo(ids, &response);
  reply->Send(std::move(response));
}

}  // namespace reprise::api
