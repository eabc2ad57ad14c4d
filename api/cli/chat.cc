#include <unistd.h>

#include <cstdint>
#include <iostream>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "api/cli/commands.h"
#include "api/cli/generate_flags.h"
#include "api/cli/table.h"
#include "api/cli/text_file.h"
#include "api/client/inference_client.h"
#include "cachestore/base/status_macros.h"

namespace reprise::api {
namespace {

struct ChatFlags {
  GenerateFlags generate;
  std::string system;
  std::string system_file;
  std::string tools_file;
  bool no_thinking = false;
};

// What the model's chat template is told besides the messages; empty: nothing.
absl::StatusOr<std::string> TemplateVariables(const ChatFlags& flags) {
  std::vector<std::string> members;
  if (!flags.tools_file.empty()) {
    ASSIGN_OR_RETURN(const std::string tools, ReadFile(flags.tools_file));
    members.push_back(absl::StrCat("\"tools\": ", tools));
  }
  if (flags.no_thinking) members.push_back("\"enable_thinking\": false");
  if (members.empty()) return "";
  return absl::StrCat("{", absl::StrJoin(members, ", "), "}");
}

// One conversation with a server. Sends the whole of it each turn: what was sent before comes from
// the server's cache.
class Chat {
 public:
  // `settings`: a request without messages or hints; each turn is sent with them.
  Chat(std::unique_ptr<InferenceClient> client, absl::Duration timeout,
       v1::GenerateRequest settings, std::string system)
      : timeout_(timeout),
        settings_(std::move(settings)),
        system_(std::move(system)),
        client_(std::move(client)) {
    Restart();
  }

  // Forgets everything but the system prompt.
  void Restart() {
    request_ = settings_;
    if (!system_.empty()) AddMessage("system", system_);
    request_.mutable_hints()->set_session(absl::StrFormat("chat-%016x", random_()));
    request_.mutable_hints()->set_turn(0);
  }

  // Sends `question` and prints the answer as it comes. The conversation is unchanged after an
  // error.
  absl::Status Ask(const std::string& question) {
    AddMessage("user", question);
    request_.mutable_hints()->set_turn(request_.hints().turn() + 1);
    std::string answer;
    const absl::StatusOr<v1::GenerateSummary> summary =
        client_->Generate(request_, timeout_, [&answer](const v1::TokenChunk& chunk) {
          std::cout << chunk.text() << std::flush;
          answer += chunk.text();
        });
    std::cout << std::endl;
    if (!summary.ok()) {
      request_.mutable_conversation()->mutable_messages()->RemoveLast();
      request_.mutable_hints()->set_turn(request_.hints().turn() - 1);
      return summary.status();
    }
    AddMessage("assistant", answer);
    request_.mutable_hints()->set_finish_reason(FinishReasonText(summary->finish_reason()));
    std::cerr << "[" << SummaryText(*summary) << "]" << std::endl;
    return absl::OkStatus();
  }

  absl::StatusOr<v1::GetModelResponse> Model() { return client_->GetModel(timeout_); }

 private:
  void AddMessage(const std::string& role, const std::string& content) {
    v1::ChatMessage& message = *request_.mutable_conversation()->add_messages();
    message.set_role(role);
    message.set_content(content);
  }

  const absl::Duration timeout_;
  const v1::GenerateRequest settings_;
  const std::string system_;
  std::mt19937_64 random_{std::random_device()()};
  const std::unique_ptr<InferenceClient> client_;
  v1::GenerateRequest request_;  // the conversation so far
};

absl::Status RunChat(const ChatFlags& flags) {
  std::string system = flags.system;
  if (!flags.system_file.empty()) {
    ASSIGN_OR_RETURN(system, ReadFile(flags.system_file));
  }
  const bool interactive = isatty(STDIN_FILENO) != 0;
  ASSIGN_OR_RETURN(v1::GenerateRequest settings, flags.generate.ToRequest());
  ASSIGN_OR_RETURN(*settings.mutable_conversation()->mutable_template_variables(),
                   TemplateVariables(flags));
  ASSIGN_OR_RETURN(auto client, Connect<InferenceClient>(flags.generate.server));
  Chat chat(std::move(client), flags.generate.server.timeout(), std::move(settings),
            std::move(system));
  ASSIGN_OR_RETURN(const v1::GetModelResponse model, chat.Model());
  if (interactive) {
    std::cerr << model.name() << " (" << model.architecture() << "), context "
              << WithThousands(model.max_positions())
              << " tokens. /new starts over, /quit or Ctrl-D ends.\n";
  }
  std::string line;
  while (true) {
    if (interactive) std::cerr << "> " << std::flush;
    if (!std::getline(std::cin, line) || line == "/quit") return absl::OkStatus();
    if (line.empty()) continue;
    if (line == "/new") {
      chat.Restart();
      continue;
    }
    const absl::Status status = chat.Ask(line);
    if (status.ok()) continue;
    // At a terminal the user can mend it; a script must hear of it.
    if (!interactive) return status;
    ExitCode("chat", flags.generate.server, status);
  }
}

}  // namespace

void AddChatCommand(FlagSet& program) {
  FlagSet& command = program.AddCommand(
      "chat", "talk to a served model; shows what each turn took from the cache");
  const auto flags = std::make_shared<ChatFlags>();
  command.Add("system", &flags->system, "TEXT", "system prompt");
  command.Add("system-file", &flags->system_file, "FILE", "read the system prompt from a file");
  command.Exclude("system", "system-file");
  command.Add("tools", &flags->tools_file, "FILE",
              "a JSON list of the tools that the model may call, for its chat template");
  command.AddSwitch("no-thinking", &flags->no_thinking,
                    "tell the chat template enable_thinking=false: Qwen3 answers at once");
  AddGenerateFlags(command, &flags->generate);
  command.SetExamples(
      "Each line is a turn; answers go to stdout. After each turn stderr shows the prompt's "
      "tokens, how\n"
      "many came from the cache by tier, the time to the first token and tokens per second. Lines "
      "may be\n"
      "piped in; the first error ends the chat with exit code 1 then. /new starts over, /quit "
      "ends.\n\n"
      "Examples:\n"
      "  reprise chat --system \"You are brief.\"\n"
      "  reprise chat --server unix:/run/reprise.sock --system-file system.txt --temperature 0.7\n"
      "  printf 'Hello.\\nAnd again.\\n' | reprise chat --max-new-tokens 32\n");
  command.SetAction([flags] { return ExitCode("chat", flags->generate.server, RunChat(*flags)); });
}

}  // namespace reprise::api
