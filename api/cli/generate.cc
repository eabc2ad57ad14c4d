#include <cstdint>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "api/cli/commands.h"
#include "api/cli/generate_flags.h"
#include "api/cli/text_file.h"
#include "api/client/inference_client.h"
#include "cachestore/base/status_macros.h"

namespace reprise::api {
namespace {

struct OneShotFlags {
  GenerateFlags generate;
  std::string prompt;
  std::string prompt_file;
  std::string tokens_file;
  bool json = false;
  int32_t top_logprobs = -1;
};

absl::StatusOr<v1::GenerateRequest> MakeRequest(const OneShotFlags& flags) {
  ASSIGN_OR_RETURN(v1::GenerateRequest request, flags.generate.ToRequest());
  if (flags.top_logprobs >= 0) request.mutable_sampling()->set_top_logprobs(flags.top_logprobs);
  if (!flags.tokens_file.empty()) {
    ASSIGN_OR_RETURN(const std::vector<uint32_t> tokens, ReadTokens(flags.tokens_file));
    request.mutable_token_ids()->mutable_ids()->Assign(tokens.begin(), tokens.end());
  } else if (!flags.prompt_file.empty()) {
    ASSIGN_OR_RETURN(*request.mutable_text(), ReadFile(flags.prompt_file));
  } else {
    request.set_text(flags.prompt.empty() ? ReadStdin() : flags.prompt);
  }
  return request;
}

// What a request's chunks said.
struct Answer {
  std::string text;
  std::vector<uint32_t> ids;
  nlohmann::ordered_json logprobs;  // one entry a token, if asked for
};

nlohmann::ordered_json LogprobsJson(const v1::TokenChunk& chunk) {
  nlohmann::ordered_json json = {{"logprob", chunk.logprob()},
                                 {"top", nlohmann::ordered_json::array()}};
  for (const v1::TokenLogprob& top : chunk.top_logprobs()) {
    json["top"].push_back({{"token_id", top.token_id()}, {"logprob", top.logprob()}});
  }
  return json;
}

// One object on one line.
std::string Json(const Answer& answer, const v1::GenerateSummary& summary) {
  nlohmann::ordered_json json;
  json["text"] = answer.text;
  json["token_ids"] = answer.ids;
  if (!answer.logprobs.empty()) json["logprobs"] = answer.logprobs;
  json["finish_reason"] = FinishReasonText(summary.finish_reason());
  json["prompt_tokens"] = summary.prompt_tokens();
  json["cached_tokens"] = {{"gpu", summary.cached_tokens().gpu()},
                           {"ram", summary.cached_tokens().ram()},
                           {"disk", summary.cached_tokens().disk()}};
  json["new_tokens"] = summary.new_tokens();
  json["queue_seconds"] = summary.queue_seconds();
  json["load_seconds"] = summary.load_seconds();
  json["ttft_seconds"] = summary.ttft_seconds();
  json["total_seconds"] = summary.total_seconds();
  json["decode_tokens_per_second"] = summary.decode_tokens_per_second();
  json["block_tokens"] = summary.block_tokens();
  return json.dump();
}

absl::Status RunGenerate(const OneShotFlags& flags) {
  ASSIGN_OR_RETURN(const v1::GenerateRequest request, MakeRequest(flags));
  InferenceClient client(flags.generate.server);
  Answer answer;
  ASSIGN_OR_RETURN(
      const v1::GenerateSummary summary,
      client.Generate(request, flags.generate.timeout(), [&](const v1::TokenChunk& chunk) {
        answer.ids.push_back(chunk.token_id());
        answer.text += chunk.text();
        if (chunk.has_logprob()) answer.logprobs.push_back(LogprobsJson(chunk));
        if (!flags.json) std::cout << chunk.text() << std::flush;
      }));
  if (flags.json) {
    std::cout << Json(answer, summary) << std::endl;
  } else {
    std::cout << std::endl;
    std::cerr << "[" << SummaryText(summary) << "]" << std::endl;
  }
  return absl::OkStatus();
}

}  // namespace

void AddGenerateCommand(FlagSet& program) {
  FlagSet& command = program.AddCommand("generate", "generate once and print the text");
  const auto flags = std::make_shared<OneShotFlags>();
  command.Add("prompt", &flags->prompt, "TEXT", "the prompt; without any prompt flag: stdin");
  command.Add("prompt-file", &flags->prompt_file, "FILE", "read the prompt from a file");
  command.Add("tokens-file", &flags->tokens_file, "FILE",
              "read the prompt's token ids from a file: numbers with spaces, commas or brackets");
  command.Exclude("prompt", "prompt-file");
  command.Exclude("prompt", "tokens-file");
  command.Exclude("prompt-file", "tokens-file");
  command.AddSwitch("json", &flags->json,
                    "print one JSON object with text, token ids, cached tokens by tier and times");
  command.Add("logprobs", &flags->top_logprobs, "N",
              "with --json: log probability of each token, and of the N likeliest, 0 to 20, in the "
              "model's own distribution; -1: none");
  command.AtLeast("logprobs", -1);
  command.Need("logprobs", "json");
  AddGenerateFlags(command, &flags->generate);
  command.SetExamples(
      "Examples:\n"
      "  reprise generate --prompt \"Once upon a time\" --max-new-tokens 64\n"
      "  reprise generate --prompt-file long.txt --json\n"
      "  echo Hello | reprise generate --server unix:/run/reprise.sock --temperature 0.8 --seed "
      "7\n");
  command.SetAction([flags] { return ExitCode("generate", RunGenerate(*flags)); });
}

}  // namespace reprise::api
