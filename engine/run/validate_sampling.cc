#include "engine/run/validate_sampling.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "cachestore/base/status_macros.h"

namespace reprise::engine {
namespace {

constexpr float kMaxPenalty = 2;      // presence and frequency, either way
constexpr float kMaxLogitBias = 100;  // either way

template <typename T>
absl::Status Expect(bool in_range, absl::string_view name, T value, absl::string_view range) {
  if (in_range) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(name, " is ", value, "; it must be ", range));
}

absl::Status ValidateLogitBias(const SamplingParams& params, int64_t vocab_size) {
  const int64_t entries = static_cast<int64_t>(params.logit_bias.size());
  if (entries > kMaxLogitBiases) {
    return absl::InvalidArgumentError(absl::StrCat("logit_bias has ", entries, " tokens; at most ",
                                                   kMaxLogitBiases, " are allowed"));
  }
  for (const auto& [token, bias] : params.logit_bias) {
    if (token >= static_cast<uint64_t>(vocab_size)) {
      return absl::InvalidArgumentError(absl::StrCat("logit_bias has token ", token,
                                                     ", but the model's vocabulary has ",
                                                     vocab_size, " tokens"));
    }
    RETURN_IF_ERROR(Expect(std::abs(bias) <= kMaxLogitBias,
                           absl::StrCat("logit_bias of token ", token), bias, "in [-100, 100]"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ValidateSampling(const SamplingParams& params, int64_t vocab_size) {
  // Comparisons with NaN are false.
  RETURN_IF_ERROR(Expect(params.temperature >= 0 && std::isfinite(params.temperature),
                         "temperature", params.temperature, "finite and at least 0"));
  RETURN_IF_ERROR(Expect(params.top_k >= 0, "top_k", params.top_k, "0 (off) or positive"));
  RETURN_IF_ERROR(Expect(params.top_p > 0 && params.top_p <= 1, "top_p", params.top_p,
                         "above 0 and at most 1"));
  RETURN_IF_ERROR(
      Expect(params.min_p >= 0 && params.min_p <= 1, "min_p", params.min_p, "in [0, 1]"));
  RETURN_IF_ERROR(Expect(params.repetition_penalty > 0 && params.repetition_penalty <= 100,
                         "repetition_penalty", params.repetition_penalty,
                         "above 0 and at most 100; 1 is off"));
  RETURN_IF_ERROR(Expect(std::abs(params.presence_penalty) <= kMaxPenalty, "presence_penalty",
                         params.presence_penalty, "in [-2, 2]"));
  RETURN_IF_ERROR(Expect(std::abs(params.frequency_penalty) <= kMaxPenalty, "frequency_penalty",
                         params.frequency_penalty, "in [-2, 2]"));
  const int32_t top_logprobs = params.top_logprobs.value_or(0);
  RETURN_IF_ERROR(Expect(top_logprobs >= 0 && top_logprobs <= kMaxTopLogprobs, "top_logprobs",
                         top_logprobs, "in [0, 20]"));
  return ValidateLogitBias(params, vocab_size);
}

}  // namespace reprise::engine
