// GenerateRequest, GenerateResult, TokenSink: what goes into the engine and what comes out.
// Plain data and one callback interface, declared here and implemented above (api/).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "cachestore/policy/request_hints.h"

namespace reprise::engine {

// Sampler (run/sampler.h) says what each does, and in which order.
struct SamplingParams {
  float temperature = 0;         // 0: greedy
  int32_t top_k = 0;             // 0: off
  float top_p = 1;               // (0, 1]
  float min_p = 0;               // [0, 1]: of the likeliest token's probability; 0: off
  float repetition_penalty = 1;  // above 0, for tokens of prompt and answer; 1: off
  float presence_penalty = 0;    // [-2, 2], for tokens of the answer; 0: off
  float frequency_penalty = 0;   // [-2, 2], for each time a token is in the answer; 0: off
  absl::btree_map<uint32_t, float> logit_bias;  // token -> [-100, 100], added to its logit
  std::optional<int32_t> top_logprobs;  // [0, 20]: report the token's log probability, and so many
                                        // of the likeliest
  uint64_t seed = 0;                    // same seed, same request: same tokens
};

struct StopConditions {
  int32_t max_new_tokens = 128;
  bool ignore_eos = false;                // go on past the model's end-of-sequence tokens
  std::vector<uint32_t> stop_token_ids;   // besides the model's own
  std::vector<std::string> stop_strings;  // text from the stop string on is not emitted
};

// Whether a request may use cached blocks and leave its own behind.
enum class CacheMode { kUse, kOff };

inline constexpr int32_t kMaxPriority = 100;
inline constexpr int32_t kMaxSamples = 32;

struct GenerateRequest {
  std::vector<uint32_t> prompt;  // at least one token
  SamplingParams sampling;
  StopConditions stop;
  CacheMode cache = CacheMode::kUse;
  bool exact_kv = false;  // refused by an engine that keeps KV rounded (EngineOptions::kv_dtype)
  std::string tenant = "default";
  std::string salt;  // requests share blocks only under equal tenant and salt
  // Answers to the one prompt, each with a seed of its own (SeedOfSample). From 1 to kMaxSamples.
  int32_t num_samples = 1;
  // The higher one goes first, and may preempt lower ones. From -kMaxPriority to kMaxPriority.
  int32_t priority = 0;
  // A request that has not ended by then ends with kDeadlineExceeded.
  absl::Time deadline = absl::InfiniteFuture();
  cachestore::RequestHints hints;  // what the caller knows of the conversation
  bool offers_tools = false;       // an answer that ends by itself may be the call of a tool
  // How the caller, and who traces it, know the request: for logs. Empty: not said.
  std::string request_id;
  std::string trace_parent;  // traceparent of W3C Trace Context
};

enum class FinishReason { kStopToken, kStopString, kMaxTokens, kContextFull, kCancelled };

// How one of a request's samples ended.
struct SampleResult {
  FinishReason finish_reason = FinishReason::kMaxTokens;
  int64_t new_tokens = 0;
};

struct GenerateResult {
  FinishReason finish_reason = FinishReason::kMaxTokens;  // of the first sample
  int64_t prompt_tokens = 0;
  int64_t cached_gpu_tokens = 0;   // prompt tokens whose KV was on the GPU
  int64_t cached_ram_tokens = 0;   // prompt tokens whose KV came from RAM
  int64_t cached_disk_tokens = 0;  // prompt tokens whose KV came from disk
  int64_t new_tokens = 0;          // of all samples
  std::vector<SampleResult> samples;
  absl::Duration queue_time;  // submitted -> admitted
  absl::Duration load_time;   // waiting for cached blocks
  absl::Duration ttft;        // submitted -> first token
  absl::Duration total;       // submitted -> last token
};

struct TokenLogprob {
  uint32_t token = 0;
  float logprob = 0;  // natural logarithm of its probability
};

// Log probabilities at the place of one new token, in the model's own distribution: the softmax of
// its logits before bias, penalties, temperature and every other filter.
struct TokenLogprobs {
  float chosen = 0;               // of the new token
  std::vector<TokenLogprob> top;  // the likeliest, best first; the new token may be among them
};

// One new token as its sink sees it. Good during the call.
struct OutputToken {
  uint32_t id = 0;
  int32_t sample = 0;                       // which of the request's answers it is of
  absl::string_view text;                   // what became complete with it; may be empty
  const TokenLogprobs* logprobs = nullptr;  // set when top_logprobs is
};

// Receives one request's output. Calls come from the engine thread, one at a time, and must be
// quick. Exactly one of OnFinish and OnError comes, last.
class TokenSink {
 public:
  virtual ~TokenSink() = default;
  virtual void OnToken(const OutputToken& token) = 0;
  virtual void OnFinish(const GenerateResult& result) = 0;
  virtual void OnError(const absl::Status& status) = 0;
};

}  // namespace reprise::engine
