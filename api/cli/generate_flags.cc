#include "api/cli/generate_flags.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "api/cli/table.h"
#include "cachestore/base/status_macros.h"

namespace reprise::api {
namespace {

absl::Status AddLogitBias(const std::string& text, v1::Sampling* sampling) {
  const std::pair<absl::string_view, absl::string_view> parts =
      absl::StrSplit(text, absl::MaxSplits('=', 1));
  uint32_t token = 0;
  float bias = 0;
  if (!absl::SimpleAtoi(parts.first, &token) || !absl::SimpleAtof(parts.second, &bias)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--logit-bias \"", text, "\" is not a token id and a number, as in 198=-100"));
  }
  (*sampling->mutable_logit_bias())[token] = bias;
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<v1::GenerateRequest> GenerateFlags::ToRequest() const {
  v1::GenerateRequest request;
  v1::Sampling& sampling = *request.mutable_sampling();
  sampling.set_temperature(temperature);
  sampling.set_top_k(top_k);
  sampling.set_top_p(top_p);
  sampling.set_min_p(min_p);
  sampling.set_repetition_penalty(repetition_penalty);
  sampling.set_presence_penalty(presence_penalty);
  sampling.set_frequency_penalty(frequency_penalty);
  for (const std::string& text : logit_bias) RETURN_IF_ERROR(AddLogitBias(text, &sampling));
  sampling.set_seed(seed);
  request.mutable_stop()->set_max_new_tokens(max_new_tokens);
  request.mutable_stop()->set_ignore_eos(ignore_eos);
  request.mutable_stop()->mutable_token_ids()->Assign(stop_token_ids.begin(), stop_token_ids.end());
  for (const std::string& text : stop_strings) request.mutable_stop()->add_strings(text);
  request.set_cache_use(no_cache ? v1::CACHE_USE_OFF : v1::CACHE_USE_DEFAULT);
  request.set_exact_kv(exact_kv);
  request.set_tenant(tenant);
  request.set_salt(salt);
  request.set_priority(priority);
  return request;
}

void AddGenerateFlags(FlagSet& flags, GenerateFlags* values) {
  AddServerFlags(flags, &values->server);
  flags.Add("max-new-tokens", &values->max_new_tokens, "N", "most tokens to generate");
  flags.Add("temperature", &values->temperature, "X", "0: always the likeliest token");
  flags.Add("top-k", &values->top_k, "N", "sample among the N likeliest tokens; 0: off");
  flags.Add("top-p", &values->top_p, "X",
            "sample among the likeliest tokens that hold this share of probability, above 0 to 1");
  flags.Add("min-p", &values->min_p, "X",
            "sample among tokens with this share of the likeliest one's probability, 0 to 1; 0: "
            "off");
  flags.Add("repetition-penalty", &values->repetition_penalty, "X",
            "divide logits of tokens that prompt or answer hold by this (multiply those below "
            "zero); 1: off");
  flags.Add("presence-penalty", &values->presence_penalty, "X",
            "take this from the logits of tokens that the answer holds, -2 to 2");
  flags.Add("frequency-penalty", &values->frequency_penalty, "X",
            "take this from a token's logit for each time the answer holds it, -2 to 2");
  flags.Add("logit-bias", &values->logit_bias, "ID=BIAS",
            "add to the logit of a token, -100 to 100: -100 bans it, 100 forces it; may be given "
            "several times");
  flags.Add("seed", &values->seed, "N", "same seed, same request: same tokens");
  flags.AddSwitch("ignore-eos", &values->ignore_eos,
                  "go on past the model's end-of-sequence token");
  flags.Add("stop-token-ids", &values->stop_token_ids, "ID", "end with any of these tokens");
  flags.Add("stop", &values->stop_strings, "TEXT",
            "end before this text; may be given several times");
  flags.AddSwitch("no-cache", &values->no_cache, "neither use nor store KV blocks");
  flags.AddSwitch("exact-kv", &values->exact_kv,
                  "refuse to be answered by a server that keeps KV rounded (serve --kv-dtype)");
  flags.Add("tenant", &values->tenant, "NAME",
            "blocks are shared only within a tenant; without it the credential's, or default");
  flags.Add("salt", &values->salt, "TEXT", "blocks are shared only under an equal salt");
  flags.Add("priority", &values->priority, "N",
            "-100 to 100; the higher one goes first and may make lower ones wait");
  flags.AtLeast("max-new-tokens", 1);
  flags.AtLeast("temperature", 0);
  flags.AtLeast("top-k", 0);
}

std::string FinishReasonText(v1::FinishReason reason) {
  const std::string name = v1::FinishReason_Name(reason);
  return absl::AsciiStrToLower(
      absl::StrReplaceAll(absl::StripPrefix(name, "FINISH_REASON_"), {{"_", " "}}));
}

std::string SummaryText(const v1::GenerateSummary& summary) {
  const v1::CachedTokens& cached = summary.cached_tokens();
  const int64_t total = cached.gpu() + cached.ram() + cached.disk();
  std::string tiers =
      absl::StrFormat("ram %s, disk %s", WithThousands(cached.ram()), WithThousands(cached.disk()));
  if (cached.gpu() > 0) tiers = absl::StrFormat("gpu %s, %s", WithThousands(cached.gpu()), tiers);
  return absl::StrFormat(
      "prompt %s tokens, cached %s (%s), first token %.0f ms, %s new tokens at %.1f tokens/s, %s",
      WithThousands(summary.prompt_tokens()), WithThousands(total), tiers,
      summary.ttft_seconds() * 1e3, WithThousands(summary.new_tokens()),
      summary.decode_tokens_per_second(), FinishReasonText(summary.finish_reason()));
}

}  // namespace reprise::api
