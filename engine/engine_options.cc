#include "engine/engine_options.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace reprise::engine {
namespace {

absl::Status CheckRange(absl::string_view option, int32_t value, int32_t min, int32_t max) {
  if (value >= min && value <= max) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(option, " is ", value, "; it must be from ", min, " to ", max));
}

}  // namespace

absl::Status EngineOptions::Validate() const {
  if (model_folder.empty()) {
    return absl::InvalidArgumentError("model_folder is empty; it must name a Hugging Face folder");
  }
  if (block_tokens < kLeastBlockTokens || block_tokens > kMostBlockTokens ||
      (block_tokens & (block_tokens - 1)) != 0) {
    return absl::InvalidArgumentError(absl::StrCat("block_tokens is ", block_tokens,
                                                   "; it must be a power of two from ",
                                                   kLeastBlockTokens, " to ", kMostBlockTokens));
  }
  absl::Status status = CheckRange("step_tokens", step_tokens, 1, 1 << 20);
  status.Update(CheckRange("max_running", max_running, 1, 1 << 16));
  status.Update(CheckRange("max_waiting", max_waiting, 1, 1 << 20));
  status.Update(CheckRange("num_threads", num_threads, 0, 4096));
  if (!status.ok()) return status;
  if (step_tokens < max_running) {
    return absl::InvalidArgumentError(
        absl::StrCat("step_tokens is ", step_tokens, " but max_running is ", max_running,
                     "; a step must have room for one token of every running sequence"));
  }
  return absl::OkStatus();
}

}  // namespace reprise::engine
