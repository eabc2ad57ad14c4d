#include "engine/engine_request.h"

#include "absl/strings/str_cat.h"
#include "engine/run/validate_sampling.h"

namespace reprise::engine {
namespace {

// More are a mistake of the caller: every one is searched for in every piece of text.
constexpr size_t kMaxStopStrings = 64;
constexpr size_t kMaxStopStringBytes = 1024;

absl::Status ValidateStop(const StopConditions& stop) {
  if (stop.max_new_tokens < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("max_new_tokens is ", stop.max_new_tokens, "; it must be at least 1"));
  }
  if (stop.stop_strings.size() > kMaxStopStrings) {
    return absl::InvalidArgumentError(absl::StrCat("there are ", stop.stop_strings.size(),
                                                   " stop_strings; at most ", kMaxStopStrings,
                                                   " are allowed"));
  }
  for (size_t i = 0; i < stop.stop_strings.size(); ++i) {
    const size_t bytes = stop.stop_strings[i].size();
    if (bytes == 0 || bytes > kMaxStopStringBytes) {
      return absl::InvalidArgumentError(absl::StrCat("stop_strings[", i, "] has ", bytes,
                                                     " bytes; it must have from 1 to ",
                                                     kMaxStopStringBytes));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ValidateRequest(const GenerateRequest& request, const ModelConfig& model) {
  if (request.prompt.empty()) {
    return absl::InvalidArgumentError("the prompt is empty; it must have at least one token");
  }
  if (request.prompt.size() > static_cast<size_t>(model.max_positions)) {
    return absl::InvalidArgumentError(absl::StrCat("the prompt has ", request.prompt.size(),
                                                   " tokens, but the model's context is ",
                                                   model.max_positions, " tokens"));
  }
  for (size_t i = 0; i < request.prompt.size(); ++i) {
    if (request.prompt[i] >= static_cast<uint64_t>(model.vocab_size)) {
      return absl::InvalidArgumentError(absl::StrCat("prompt token ", i, " is ", request.prompt[i],
                                                     ", but the model's vocabulary has ",
                                                     model.vocab_size, " tokens"));
    }
  }
  absl::Status sampling = ValidateSampling(request.sampling, model.vocab_size);
  if (!sampling.ok()) return sampling;
  if (request.num_samples < 1 || request.num_samples > kMaxSamples) {
    return absl::InvalidArgumentError(absl::StrCat("num_samples is ", request.num_samples,
                                                   "; it must be from 1 to ", kMaxSamples));
  }
  if (request.priority < -kMaxPriority || request.priority > kMaxPriority) {
    return absl::InvalidArgumentError(absl::StrCat("priority is ", request.priority,
                                                   "; it must be from ", -kMaxPriority, " to ",
                                                   kMaxPriority));
  }
  return ValidateStop(request.stop);
}

uint64_t SeedOfSample(uint64_t seed, int32_t sample) {
  if (sample == 0) return seed;
  // SplitMix64: neighbouring seeds and samples have nothing in common.
  uint64_t x = seed + static_cast<uint64_t>(sample) * 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

}  // namespace reprise::engine
