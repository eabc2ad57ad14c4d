#include "api/cli/generate_flags.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "api/cli/table.h"

namespace reprise::api {

v1::GenerateRequest GenerateFlags::ToRequest() const {
  v1::GenerateRequest request;
  request.mutable_sampling()->set_temperature(temperature);
  request.mutable_sampling()->set_top_k(top_k);
  request.mutable_sampling()->set_top_p(top_p);
  request.mutable_sampling()->set_seed(seed);
  request.mutable_stop()->set_max_new_tokens(max_new_tokens);
  request.mutable_stop()->set_ignore_eos(ignore_eos);
  for (const std::string& text : stop_strings) request.mutable_stop()->add_strings(text);
  request.set_cache_use(no_cache ? v1::CACHE_USE_OFF : v1::CACHE_USE_DEFAULT);
  request.set_tenant(tenant);
  request.set_salt(salt);
  return request;
}

void AddGenerateFlags(FlagSet& flags, GenerateFlags* values) {
  flags.Add("server", &values->server, "ADDR", "the server, as its --listen says");
  flags.Add("max-new-tokens", &values->max_new_tokens, "N", "most tokens to generate");
  flags.Add("temperature", &values->temperature, "X", "0: always the likeliest token");
  flags.Add("top-k", &values->top_k, "N", "sample among the N likeliest tokens; 0: off");
  flags.Add("top-p", &values->top_p, "X",
            "sample among the likeliest tokens that hold this share of probability, above 0 to 1");
  flags.Add("seed", &values->seed, "N", "same seed, same request: same tokens");
  flags.AddSwitch("ignore-eos", &values->ignore_eos,
                  "go on past the model's end-of-sequence token");
  flags.Add("stop", &values->stop_strings, "TEXT",
            "end before this text; may be given several times");
  flags.AddSwitch("no-cache", &values->no_cache, "neither use nor store KV blocks");
  flags.Add("tenant", &values->tenant, "NAME", "blocks are shared only within a tenant");
  flags.Add("salt", &values->salt, "TEXT", "blocks are shared only under an equal salt");
  flags.Add("timeout", &values->timeout_seconds, "SECONDS", "how long one answer may take");
  flags.AtLeast("max-new-tokens", 1);
  flags.AtLeast("temperature", 0);
  flags.AtLeast("top-k", 0);
  flags.AtLeast("timeout", 0);
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
