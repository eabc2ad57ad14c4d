#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "api/cli/cache_commands.h"
#include "api/cli/commands.h"
#include "api/cli/server_flags.h"
#include "api/cli/table.h"
#include "api/cli/text_file.h"
#include "api/client/inference_client.h"
#include "api/http/openai_request.h"

namespace reprise::api {
namespace {

struct WarmFlags {
  ServerFlags server;
  std::vector<std::string> files;
  std::string tenant;
  std::string salt;
  int32_t priority = -100;
  bool json = false;
};

// A prompt and where it came from.
struct WarmPrompt {
  std::string name;  // "prompts.jsonl:3"
  v1::GenerateRequest request;
};

// The prompts of a request to OpenAI's API, `line`.
absl::StatusOr<std::vector<v1::GenerateRequest>> PromptsOf(absl::string_view line) {
  const nlohmann::json json = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
  const bool is_chat = json.is_object() && json.contains("messages");
  ASSIGN_OR_RETURN(
      OpenAiCall call,
      ParseOpenAiCall(is_chat ? OpenAiEndpoint::kChat : OpenAiEndpoint::kCompletions, line));
  return std::move(call.prompts);
}

absl::StatusOr<std::vector<WarmPrompt>> ReadPrompts(const std::string& path) {
  ASSIGN_OR_RETURN(std::string text, ReadFile(path));
  std::vector<WarmPrompt> prompts;
  if (!absl::EndsWith(path, ".jsonl")) {
    prompts.emplace_back().name = path;
    prompts.back().request.set_text(std::move(text));
    return prompts;
  }
  int64_t number = 0;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    if (absl::StripAsciiWhitespace(line).empty()) continue;
    absl::StatusOr<std::vector<v1::GenerateRequest>> requests = PromptsOf(line);
    if (!requests.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ":", number, ": ", requests.status().message()));
    }
    for (v1::GenerateRequest& request : *requests) {
      prompts.push_back({absl::StrCat(path, ":", number), std::move(request)});
    }
  }
  return prompts;
}

// The request that computes what is not cached of a prompt, and as little more as there can be.
v1::GenerateRequest WarmingRequest(const WarmFlags& flags, v1::GenerateRequest request) {
  request.clear_sampling();
  request.clear_stop();
  request.mutable_stop()->set_max_new_tokens(1);
  request.set_num_samples(1);
  request.set_tenant(flags.tenant);
  if (!flags.salt.empty()) request.set_salt(flags.salt);
  request.set_priority(flags.priority);
  return request;
}

// What became of the prompts so far.
struct WarmTotals {
  int64_t prompts = 0;
  int64_t tokens = 0;
  int64_t cached = 0;
};

void Report(const WarmFlags& flags, const std::string& name, const v1::GenerateSummary& summary,
            WarmTotals* totals) {
  const v1::CachedTokens& tiers = summary.cached_tokens();
  const int64_t cached = tiers.gpu() + tiers.ram() + tiers.disk();
  const int64_t computed = summary.prompt_tokens() - cached;
  ++totals->prompts;
  totals->tokens += summary.prompt_tokens();
  totals->cached += cached;
  if (flags.json) {
    std::cout << nlohmann::ordered_json{{"prompt", name},
                                        {"prompt_tokens", summary.prompt_tokens()},
                                        {"cached_tokens", cached},
                                        {"computed_tokens", computed},
                                        {"seconds", summary.total_seconds()}}
                     .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)
              << std::endl;
    return;
  }
  std::cout << name << ": " << WithThousands(summary.prompt_tokens()) << " tokens, "
            << WithThousands(cached) << " were cached, " << WithThousands(computed) << " computed"
            << std::endl;
}

absl::Status RunWarm(const WarmFlags& flags) {
  std::vector<WarmPrompt> prompts;
  // All of them first: what is wrong with the last file is said before work begins.
  for (const std::string& file : flags.files) {
    ASSIGN_OR_RETURN(std::vector<WarmPrompt> more, ReadPrompts(file));
    for (WarmPrompt& prompt : more) prompts.push_back(std::move(prompt));
  }
  ASSIGN_OR_RETURN(const auto client, Connect<InferenceClient>(flags.server));
  WarmTotals totals;
  for (WarmPrompt& prompt : prompts) {
    std::cerr << "[" << totals.prompts + 1 << " of " << prompts.size() << "] " << prompt.name
              << std::endl;
    const absl::StatusOr<v1::GenerateSummary> summary =
        client->Generate(WarmingRequest(flags, std::move(prompt.request)), flags.server.timeout(),
                         [](const v1::TokenChunk&) {});
    if (!summary.ok()) {
      return absl::Status(summary.status().code(),
                          absl::StrCat(prompt.name, ": ", summary.status().message()));
    }
    Report(flags, prompt.name, *summary, &totals);
  }
  if (!flags.json) {
    std::cout << WithThousands(totals.prompts) << (totals.prompts == 1 ? " prompt, " : " prompts, ")
              << WithThousands(totals.tokens) << " tokens: " << WithThousands(totals.cached)
              << " were cached, " << WithThousands(totals.tokens - totals.cached) << " computed"
              << std::endl;
  }
  return absl::OkStatus();
}

}  // namespace

void AddWarm(FlagSet& cache) {
  FlagSet& command =
      cache.AddCommand("warm", "compute the blocks of prompts that are not cached yet");
  const auto flags = std::make_shared<WarmFlags>();
  AddServerFlags(command, &flags->server);
  command.Add("file", &flags->files, "FILE...",
              "a prompt as text; of a .jsonl each line is a request to OpenAI's API, with prompt, "
              "or messages and tools");
  command.Require("file");
  command.Add("tenant", &flags->tenant, "NAME", "whose blocks; without it the credential's");
  command.Add("salt", &flags->salt, "TEXT", "for requests with this salt");
  command.Add("priority", &flags->priority, "N", "-100: behind everybody's requests, to 100");
  command.AddSwitch("json", &flags->json, "print one JSON object a prompt");
  command.SetExamples(
      "One token is generated behind each prompt and dropped; full blocks of the prompt are "
      "cached\n"
      "then. A conversation is written by the model's template, so a system prompt alone warms "
      "the\n"
      "beginning of every chat that has it.\n\n"
      "Examples:\n"
      "  reprise cache warm --file system-prompt.txt manual.txt\n"
      "  reprise cache warm --file chats.jsonl --json --tenant alice\n");
  command.SetAction([flags] { return ExitCode("cache warm", flags->server, RunWarm(*flags)); });
}

}  // namespace reprise::api
