// Generate's messages to and from the engine's types. Pure functions, thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "api/auth/principal.h"
#include "engine/engine.h"
#include "engine/sched/request.h"
#include "reprise/v1/inference.pb.h"

namespace reprise::api {

// The tenant of requests that name none.
inline constexpr char kDefaultTenant[] = "default";

// Token ids of a request's input: GenerateRequest's or TokenizeRequest's text, or a conversation
// rendered with the model's chat format.
// kInvalidArgument: no UTF-8, too long, an unknown role, an order of roles the format cannot hold,
// or variables of the template that are not what ReadTemplateVariables takes.
absl::StatusOr<std::vector<uint32_t>> TokenizeText(const engine::Engine& engine,
                                                   const std::string& text);
absl::StatusOr<std::vector<uint32_t>> TokenizeConversation(const engine::Engine& engine,
                                                           const v1::Conversation& conversation);

// kInvalidArgument: no input, or a field out of range, named with its value and the limit. What
// only the engine can judge (prompt length, sampling ranges) is left to Engine::Submit.
// `tenant` is whose blocks the caller, `principal`, works on (empty: kDefaultTenant).
absl::StatusOr<engine::GenerateRequest> FromProto(const engine::Engine& engine,
                                                  const v1::GenerateRequest& request,
                                                  const Principal& principal,
                                                  const std::string& tenant);

v1::TokenChunk ToProto(const engine::OutputToken& token);
v1::GenerateSummary ToProto(const engine::GenerateResult& result, int32_t block_tokens);

}  // namespace reprise::api
