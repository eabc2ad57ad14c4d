// Bodies of OpenAI's API: whatever comes, the parser refuses it with the cause or makes requests
// that say what it says, within the limits.
#include <cmath>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "api/http/http_limits.h"
#include "api/http/openai_error.h"
#include "api/http/openai_request.h"
#include "cachestore/base/check.h"
#include "engine/json/json_text.h"
#include "engine/tokenizer/template_variables.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace reprise;  // NOLINT
  const std::string body(reinterpret_cast<const char*>(data), size);
  for (const auto endpoint : {api::OpenAiEndpoint::kChat, api::OpenAiEndpoint::kCompletions}) {
    const auto call = api::ParseOpenAiCall(endpoint, body);
    if (!call.ok()) {
      // What refuses a call is JSON, whatever the call held.
      CHECK(engine::ParseJson(api::OpenAiErrorJson(call.status()), "error").ok());
      continue;
    }
    CHECK(!call->prompts.empty() && call->prompts.size() <= api::kMaxHttpPrompts);
    CHECK(call->num_samples() >= 1);
    CHECK(call->prompts.size() * static_cast<size_t>(call->num_samples()) <= api::kMaxHttpChoices);
    for (const v1::GenerateRequest& prompt : call->prompts) {
      CHECK(prompt.tenant().empty());  // never from the body
      CHECK(std::isfinite(prompt.sampling().temperature()));
      CHECK(prompt.stop().max_new_tokens() >= 0);
      if (!prompt.has_conversation()) continue;
      // Pieces of the body, put together, are read as one object or refused.
      engine::ReadTemplateVariables(prompt.conversation().template_variables())
          .status()
          .IgnoreError();
    }
  }
  return 0;
}
