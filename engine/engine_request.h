// ValidateRequest: what the engine demands of a request before it is queued. Pure, thread-safe.
#pragma once

#include "absl/status/status.h"
#include "engine/model/model_config.h"
#include "engine/sched/request.h"

namespace reprise::engine {

// kInvalidArgument names what is out of range: empty prompt, prompt longer than the model's context
// (both lengths), token id outside of the vocabulary, priority, sampling parameter, stop condition.
absl::Status ValidateRequest(const GenerateRequest& request, const ModelConfig& model);

}  // namespace reprise::engine
