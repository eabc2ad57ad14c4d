// Traces as JSON lines, one request a line, in any order of their times. Pure functions.
//
// Mooncake's format, with blocks of 512 tokens:
//
//     {"timestamp": MS, "input_length": N, "output_length": N, "hash_ids": [ID, ...]}
//
// Request logs with token ids, as vLLM and SGLang name the fields; what is in brackets may be left
// out:
//
//     {"arrival_time": SECONDS | "timestamp": MS,
//      "prompt_token_ids" | "input_ids": [ID, ...],
//      ["output_token_ids" | "output_ids": [ID, ...] | "completion_tokens": N],
//      ["session_id": "TEXT" | N], ["finish_reason": "tool_calls" | "stop" | ...]}
//
// Their blocks are the full ones of the prompt. Times count from the earliest request. Fields that
// are not named here are not looked at.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "cachestore/trace/trace.h"

namespace reprise::bench {

inline constexpr int32_t kMooncakeBlockTokens = 512;

// `name` is what errors call the file. `log_block_tokens`: of a request log. kInvalidArgument:
// names the line and the cause.
absl::StatusOr<cachestore::Trace> ParseTraceLines(absl::string_view text, const std::string& name,
                                                  int32_t log_block_tokens);

}  // namespace reprise::bench
