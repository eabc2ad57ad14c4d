// ValidateRequest: what the engine demands of a request before it is queued. Pure, thread-safe.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "engine/model/model_config.h"
#include "engine/sched/request.h"

namespace reprise::engine {

// kInvalidArgument names what is out of range: empty prompt, prompt longer than the model's context
// (both lengths), token id outside of the vocabulary, priority, number of samples, sampling
// parameter, stop condition.
absl::Status ValidateRequest(const GenerateRequest& request, const ModelConfig& model);

// The seed of one of a request's samples. The first sample's is the request's own, so that it is
// the answer of the same request without the others.
uint64_t SeedOfSample(uint64_t seed, int32_t sample);

}  // namespace reprise::engine
