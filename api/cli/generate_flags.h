// The flags that `chat` and `generate` share: the server, sampling, stop conditions, cache use.
// Plain data.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "api/cli/flag_set.h"
#include "api/cli/server_flags.h"
#include "reprise/v1/inference.pb.h"

namespace reprise::api {

struct GenerateFlags {
  ServerFlags server;
  int32_t max_new_tokens = 128;
  float temperature = 0;
  int32_t top_k = 0;
  float top_p = 1;
  float min_p = 0;
  float repetition_penalty = 1;
  float presence_penalty = 0;
  float frequency_penalty = 0;
  std::vector<std::string> logit_bias;  // "ID=BIAS"
  uint64_t seed = 0;
  bool ignore_eos = false;
  std::vector<uint32_t> stop_token_ids;
  std::vector<std::string> stop_strings;
  bool no_cache = false;
  bool exact_kv = false;
  std::string tenant;  // empty: the credential's, or "default"
  std::string salt;
  int32_t priority = 0;

  // A request with everything but its input and hints. kInvalidArgument: a logit bias is not a
  // token id and a number.
  absl::StatusOr<v1::GenerateRequest> ToRequest() const;
};

// Adds the flags that fill `values`, which must outlive `flags`.
void AddGenerateFlags(FlagSet& flags, GenerateFlags* values);

// "prompt 1,040 tokens, cached 1,024 (ram 1,024, disk 0), first token 35 ms, 64 new tokens at 42.1
// tokens/s, max tokens".
std::string SummaryText(const v1::GenerateSummary& summary);

// "stop token", "max tokens", ...
std::string FinishReasonText(v1::FinishReason reason);

}  // namespace reprise::api
