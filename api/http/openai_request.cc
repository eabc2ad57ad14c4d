#include "api/http/openai_request.h"

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "api/http/http_limits.h"
#include "api/http/json_fields.h"
#include "api/http/openai_error.h"
#include "api/http/openai_messages.h"
#include "api/limits.h"
#include "cachestore/base/status_macros.h"
#include "engine/json/json_text.h"

namespace reprise::api {
namespace {

// They change nothing that is in an answer here; README.md lists them.
constexpr const char* kIgnored[] = {
    "metadata",          "parallel_tool_calls", "prediction", "prompt_cache_retention",
    "safety_identifier", "service_tier",        "store",
};

// Most biased tokens; Sampling.logit_bias says the same.
constexpr size_t kMaxBiasedTokens = 1024;

absl::Status TakeLogitBias(JsonFields& fields, v1::Sampling* sampling) {
  const nlohmann::json* bias = fields.Take("logit_bias");
  if (bias == nullptr) return absl::OkStatus();
  if (!bias->is_object() || bias->size() > kMaxBiasedTokens) {
    return fields.Error("logit_bias", absl::StrCat("must be an object of at most ",
                                                   kMaxBiasedTokens, " token ids"));
  }
  for (const auto& [name, value] : bias->items()) {
    uint32_t token = 0;
    if (!absl::SimpleAtoi(name, &token)) {
      return fields.Error("logit_bias",
                          absl::StrCat("has the name \"", name.substr(0, kMaxEchoBytes),
                                       "\", which is no token id"));
    }
    ASSIGN_OR_RETURN((*sampling->mutable_logit_bias())[token],
                     FloatOf(value, absl::StrCat("logit_bias.", token)));
  }
  return absl::OkStatus();
}

absl::Status TakeLogprobs(OpenAiEndpoint endpoint, JsonFields& fields, v1::Sampling* sampling) {
  if (endpoint == OpenAiEndpoint::kCompletions) {
    ASSIGN_OR_RETURN(const auto count, fields.Int32("logprobs"));
    if (count.has_value()) sampling->set_top_logprobs(*count);
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const auto wanted, fields.Bool("logprobs"));
  ASSIGN_OR_RETURN(const auto count, fields.Int32("top_logprobs"));
  if (wanted.value_or(false)) {
    sampling->set_top_logprobs(count.value_or(0));
  } else if (count.value_or(0) != 0) {
    return fields.Error("top_logprobs", "needs logprobs to be true");
  }
  return absl::OkStatus();
}

absl::Status TakeSampling(OpenAiEndpoint endpoint, JsonFields& fields, OpenAiCall* call,
                          v1::Sampling* sampling) {
  ASSIGN_OR_RETURN(const auto temperature, fields.Float("temperature"));
  sampling->set_temperature(temperature.value_or(1));
  ASSIGN_OR_RETURN(const auto top_p, fields.Float("top_p"));
  if (top_p.has_value()) sampling->set_top_p(*top_p);
  ASSIGN_OR_RETURN(const auto top_k, fields.Int32("top_k"));
  // -1 is how vLLM's clients say "off".
  sampling->set_top_k(top_k.value_or(0) == -1 ? 0 : top_k.value_or(0));
  ASSIGN_OR_RETURN(const auto min_p, fields.Float("min_p"));
  sampling->set_min_p(min_p.value_or(0));
  ASSIGN_OR_RETURN(const auto repetition, fields.Float("repetition_penalty"));
  if (repetition.has_value()) sampling->set_repetition_penalty(*repetition);
  ASSIGN_OR_RETURN(const auto presence, fields.Float("presence_penalty"));
  sampling->set_presence_penalty(presence.value_or(0));
  ASSIGN_OR_RETURN(const auto frequency, fields.Float("frequency_penalty"));
  sampling->set_frequency_penalty(frequency.value_or(0));
  ASSIGN_OR_RETURN(const auto seed, fields.Int64("seed"));
  sampling->set_seed(static_cast<uint64_t>(seed.value_or(0)));
  call->has_seed = seed.has_value();
  RETURN_IF_ERROR(TakeLogitBias(fields, sampling));
  return TakeLogprobs(endpoint, fields, sampling);
}

absl::Status TakeMaxTokens(JsonFields& fields, v1::Stop* stop) {
  for (const char* name : {"max_tokens", "max_completion_tokens"}) {
    ASSIGN_OR_RETURN(const auto most, fields.Int32(name));
    if (!most.has_value()) continue;
    if (*most < 1) return fields.Error(name, absl::StrCat("is ", *most, "; it must be at least 1"));
    stop->set_max_new_tokens(*most);
  }
  return absl::OkStatus();
}

absl::Status TakeStop(JsonFields& fields, v1::Stop* stop) {
  RETURN_IF_ERROR(TakeMaxTokens(fields, stop));
  ASSIGN_OR_RETURN(const auto ignore_eos, fields.Bool("ignore_eos"));
  stop->set_ignore_eos(ignore_eos.value_or(false));
  const nlohmann::json* strings = fields.Take("stop");
  if (strings != nullptr && strings->is_string()) {
    stop->add_strings(strings->get<std::string>());
  } else if (strings != nullptr) {
    if (!strings->is_array()) return fields.Error("stop", "must be a string or an array of them");
    for (const nlohmann::json& text : *strings) {
      if (!text.is_string()) return fields.Error("stop", "must hold nothing but strings");
      stop->add_strings(text.get<std::string>());
    }
  }
  const nlohmann::json* ids = fields.Take("stop_token_ids");
  if (ids == nullptr) return absl::OkStatus();
  if (!ids->is_array()) return fields.Error("stop_token_ids", "must be an array of token ids");
  for (const nlohmann::json& id : *ids) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() > UINT32_MAX) {
      return fields.Error("stop_token_ids", "must hold nothing but token ids");
    }
    stop->add_token_ids(id.get<uint32_t>());
  }
  return absl::OkStatus();
}

// What is accepted only as long as it asks for what happens anyway.
absl::Status CheckUsual(JsonFields& fields, int32_t num_samples) {
  const nlohmann::json* format = fields.Take("response_format");
  if (format != nullptr && *format != nlohmann::json{{"type", "text"}}) {
    return fields.Error("response_format", "must be {\"type\": \"text\"}: no other is supported");
  }
  const nlohmann::json* modalities = fields.Take("modalities");
  if (modalities != nullptr && *modalities != nlohmann::json::array({"text"})) {
    return fields.Error("modalities", "must be [\"text\"]: no other is supported");
  }
  ASSIGN_OR_RETURN(const auto echo, fields.Bool("echo"));
  if (echo.value_or(false)) return fields.Error("echo", "is not supported by this server");
  ASSIGN_OR_RETURN(const auto suffix, fields.String("suffix"));
  if (!suffix.value_or("").empty()) {
    return fields.Error("suffix", "is not supported by this server");
  }
  ASSIGN_OR_RETURN(const auto best_of, fields.Int32("best_of"));
  if (best_of.value_or(num_samples) != num_samples) {
    return fields.Error("best_of", "must be n: all answers are returned");
  }
  return absl::OkStatus();
}

absl::Status TakeStream(JsonFields& fields, OpenAiCall* call) {
  ASSIGN_OR_RETURN(const auto stream, fields.Bool("stream"));
  call->stream = stream.value_or(false);
  const nlohmann::json* options = fields.Take("stream_options");
  if (options == nullptr) return absl::OkStatus();
  if (!call->stream) return fields.Error("stream_options", "needs stream to be true");
  if (!options->is_object()) return fields.Error("stream_options", "must be an object");
  JsonFields inner(options, "stream_options.");
  ASSIGN_OR_RETURN(const auto include_usage, inner.Bool("include_usage"));
  call->include_usage = include_usage.value_or(false);
  inner.Take("include_obfuscation");  // of OpenAI's own network; changes no text
  return inner.CheckAllTaken();
}

absl::Status TakeHints(JsonFields& fields, v1::GenerateRequest* request) {
  ASSIGN_OR_RETURN(const auto user, fields.String("user"));
  ASSIGN_OR_RETURN(const auto key, fields.String("prompt_cache_key"));
  if (key.has_value() || user.has_value()) {
    request->mutable_hints()->set_session(key.has_value() ? *key : *user);
  }
  ASSIGN_OR_RETURN(const auto closed, fields.Bool("session_closed"));
  if (closed.value_or(false)) request->mutable_hints()->set_session_closed(true);
  ASSIGN_OR_RETURN(const auto salt, fields.String("cache_salt"));
  request->set_salt(salt.value_or(""));
  ASSIGN_OR_RETURN(const auto priority, fields.Int32("priority"));
  request->set_priority(priority.value_or(0));
  return absl::OkStatus();
}

bool IsTokenId(const nlohmann::json& value) {
  return value.is_number_unsigned() && value.get<uint64_t>() <= UINT32_MAX;
}

absl::Status SetTokenIds(const nlohmann::json& ids, v1::TokenIds* message) {
  if (static_cast<int64_t>(ids.size()) > kMaxRequestTokens) {
    return ParamError("prompt", absl::StrCat("prompt holds ", ids.size(), " tokens; at most ",
                                             kMaxRequestTokens, " are taken"));
  }
  for (const nlohmann::json& id : ids) {
    if (!IsTokenId(id)) return ParamError("prompt", "prompt must hold nothing but token ids");
    message->add_ids(id.get<uint32_t>());
  }
  return absl::OkStatus();
}

absl::Status SetPrompt(const nlohmann::json& prompt, v1::GenerateRequest* request) {
  if (prompt.is_string()) {
    request->set_text(prompt.get<std::string>());
    return absl::OkStatus();
  }
  if (prompt.is_array() && !prompt.empty()) {
    return SetTokenIds(prompt, request->mutable_token_ids());
  }
  return ParamError("prompt",
                    "prompt must be a string, an array of token ids, or an array of either");
}

// One request for each prompt, which are all like `request`.
absl::Status TakePrompts(JsonFields& fields, const v1::GenerateRequest& request, OpenAiCall* call) {
  const nlohmann::json* prompt = fields.Take("prompt");
  if (prompt == nullptr) return fields.Error("prompt", "is missing");
  const bool several = prompt->is_array() && !prompt->empty() && !(*prompt)[0].is_number();
  const size_t count = several ? prompt->size() : 1;
  if (count > kMaxHttpPrompts) {
    return fields.Error("prompt", absl::StrCat("holds ", count, " prompts; at most ",
                                               kMaxHttpPrompts, " are taken"));
  }
  for (size_t i = 0; i < count; ++i) {
    v1::GenerateRequest& one = call->prompts.emplace_back(request);
    RETURN_IF_ERROR(SetPrompt(several ? (*prompt)[i] : *prompt, &one));
  }
  return absl::OkStatus();
}

absl::Status TakeNumSamples(JsonFields& fields, v1::GenerateRequest* request) {
  ASSIGN_OR_RETURN(const auto n, fields.Int32("n"));
  if (n.value_or(1) < 1) return fields.Error("n", "must be at least 1");
  request->set_num_samples(n.value_or(1));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<OpenAiCall> ParseOpenAiCall(OpenAiEndpoint endpoint, absl::string_view body) {
  ASSIGN_OR_RETURN(const nlohmann::json json, engine::ParseJson(body, "the body"));
  if (!json.is_object()) return absl::InvalidArgumentError("the body must be a JSON object");
  JsonFields fields(&json, "");
  OpenAiCall call;
  call.endpoint = endpoint;
  ASSIGN_OR_RETURN(const auto model, fields.String("model"));
  call.model = model.value_or("");
  v1::GenerateRequest request;
  RETURN_IF_ERROR(TakeSampling(endpoint, fields, &call, request.mutable_sampling()));
  RETURN_IF_ERROR(TakeStop(fields, request.mutable_stop()));
  RETURN_IF_ERROR(TakeNumSamples(fields, &request));
  RETURN_IF_ERROR(TakeStream(fields, &call));
  RETURN_IF_ERROR(TakeHints(fields, &request));
  RETURN_IF_ERROR(CheckUsual(fields, request.num_samples()));
  if (endpoint == OpenAiEndpoint::kChat) {
    ASSIGN_OR_RETURN(*request.mutable_conversation(), TakeConversation(fields, body));
    call.prompts.push_back(std::move(request));
  } else {
    RETURN_IF_ERROR(TakePrompts(fields, request, &call));
  }
  for (const char* ignored : kIgnored) fields.Take(ignored);
  RETURN_IF_ERROR(fields.CheckAllTaken());
  if (call.prompts.size() * static_cast<size_t>(call.num_samples()) > kMaxHttpChoices) {
    return ParamError("n",
                      absl::StrCat("prompts times n is ",
                                   call.prompts.size() * static_cast<size_t>(call.num_samples()),
                                   "; at most ", kMaxHttpChoices, " answers are given"));
  }
  return call;
}

}  // namespace reprise::api
