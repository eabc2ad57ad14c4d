#include "bench/chat_bench.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "api/cli/table.h"
#include "api/client/cache_client.h"
#include "api/client/inference_client.h"
#include "bench/conversation.h"
#include "bench/progress.h"
#include "bench/server_process.h"
#include "bench/temp_folder.h"
#include "cachestore/base/status_macros.h"

namespace reprise::bench {
namespace {

enum class ArmKind { kOff, kRam, kDisk, kRestart };
constexpr std::array<ArmKind, 4> kArms = {ArmKind::kOff, ArmKind::kRam, ArmKind::kDisk,
                                          ArmKind::kRestart};

const char* Name(ArmKind kind) {
  switch (kind) {
    case ArmKind::kOff:
      return "off";
    case ArmKind::kRam:
      return "ram";
    case ArmKind::kDisk:
      return "disk";
    case ArmKind::kRestart:
      return "restart";
  }
  return "";
}

// What one arm saw of one turn.
struct Turn {
  std::vector<uint32_t> output;
  v1::GenerateSummary summary;

  int64_t cached_tokens() const {
    const v1::CachedTokens& cached = summary.cached_tokens();
    return cached.gpu() + cached.ram() + cached.disk();
  }
  // Share of the prompt's full blocks (the last token is always computed) that came from the cache.
  double cached_share() const {
    const int64_t full_blocks = (summary.prompt_tokens() - 1) / summary.block_tokens();
    return static_cast<double>(cached_tokens()) /
           static_cast<double>(full_blocks * summary.block_tokens());
  }
};

// One arm: a server, a client's view of the conversation so far, and what it saw.
class Arm {
 public:
  Arm(ArmKind kind, const ChatBenchOptions& options, const Conversation& conversation,
      const std::string& folder)
      : kind_(kind), options_(options), conversation_(conversation), folder_(folder) {
    *request_.mutable_conversation()->add_messages() = Message("system", conversation.system);
    request_.set_cache_use(kind == ArmKind::kOff ? v1::CACHE_USE_OFF : v1::CACHE_USE_DEFAULT);
    request_.mutable_stop()->set_max_new_tokens(options.max_new_tokens);
    request_.mutable_hints()->set_session(Name(kind));
  }

  absl::Status Start() {
    const std::string name = absl::StrCat(folder_, "/", Name(kind_));
    ASSIGN_OR_RETURN(server_,
                     ServerProcess::Start({"--model", options_.model_folder, "--disk-dir", name,
                                           "--ram-bytes", absl::StrCat(options_.ram_bytes),
                                           "--disk-bytes", absl::StrCat(options_.disk_bytes)},
                                          name + ".log"));
    return absl::OkStatus();
  }

  // Brings the blocks of the turns before to where this arm wants them, then plays the next turn.
  absl::Status PlayTurn() {
    RETURN_IF_ERROR(PlaceBlocks());
    *request_.mutable_conversation()->add_messages() =
        Message("user", conversation_.turns[turns_.size()]);
    request_.mutable_hints()->set_turn(static_cast<int32_t>(turns_.size()) + 1);
    Turn turn;
    std::string answer;
    api::InferenceClient client(server_->address());
    ASSIGN_OR_RETURN(turn.summary, client.Generate(request_, absl::InfiniteDuration(),
                                                   [&](const v1::TokenChunk& chunk) {
                                                     turn.output.push_back(chunk.token_id());
                                                     answer += chunk.text();
                                                   }));
    *request_.mutable_conversation()->add_messages() = Message("assistant", answer);
    turns_.push_back(std::move(turn));
    return absl::OkStatus();
  }

  ArmKind kind() const { return kind_; }
  const std::vector<Turn>& turns() const { return turns_; }

 private:
  static v1::ChatMessage Message(const std::string& role, const std::string& content) {
    v1::ChatMessage message;
    message.set_role(role);
    message.set_content(content);
    return message;
  }

  absl::Status PlaceBlocks() {
    if (turns_.empty() || (kind_ != ArmKind::kDisk && kind_ != ArmKind::kRestart)) {
      return absl::OkStatus();
    }
    api::CacheClient client(server_->address());
    RETURN_IF_ERROR(client.Demote(absl::Minutes(1)).status());
    if (kind_ == ArmKind::kDisk) return absl::OkStatus();
    server_->Kill();
    return Start();
  }

  const ArmKind kind_;
  const ChatBenchOptions& options_;
  const Conversation& conversation_;
  const std::string folder_;
  v1::GenerateRequest request_;
  std::unique_ptr<ServerProcess> server_;
  std::vector<Turn> turns_;
};

std::string Milliseconds(const Turn& turn) {
  return absl::StrFormat("%.0f", turn.summary.ttft_seconds() * 1e3);
}

// A ratio of two computed prefills would be noise.
std::string Speedup(const Turn& turn, const Turn& off) {
  if (turn.cached_tokens() == 0) return "-";
  return absl::StrFormat("%.1f", off.summary.ttft_seconds() / turn.summary.ttft_seconds());
}

// Per turn: prompt tokens; per arm cached tokens by tier, TTFT, speed-up, equal output.
void PrintTurns(const std::vector<std::unique_ptr<Arm>>& arms, std::ostream& out) {
  api::Table table({"turn", "arm", "prompt tokens", "cached RAM", "cached disk", "cached blocks %",
                    "TTFT ms", "speed-up", "same output"});
  const std::vector<Turn>& off = arms[0]->turns();
  for (size_t t = 0; t < off.size(); ++t) {
    for (const auto& arm : arms) {
      const Turn& turn = arm->turns()[t];
      table.AddRow({absl::StrCat(t + 1), Name(arm->kind()),
                    api::WithThousands(turn.summary.prompt_tokens()),
                    api::WithThousands(turn.summary.cached_tokens().ram()),
                    api::WithThousands(turn.summary.cached_tokens().disk()),
                    absl::StrFormat("%.1f", 100 * turn.cached_share()), Milliseconds(turn),
                    Speedup(turn, off[t]), turn.output == off[t].output ? "yes" : "NO"});
    }
  }
  table.Print(out);
  out << '\n';
}

Result SameOutput(const Arm& arm, const Arm& off) {
  Result result{.metric = absl::StrCat("chat.same_output.", Name(arm.kind())), .unit = "turns"};
  for (size_t t = 0; t < off.turns().size(); ++t) {
    result.ours += arm.turns()[t].output == off.turns()[t].output ? 1 : 0;
  }
  result.goal =
      Goal{Goal::Of::kOurs, Goal::Bound::kAtLeast, static_cast<double>(off.turns().size())};
  result.context = {{"of_turns", absl::StrCat(off.turns().size())},
                    {"compared_with", "output tokens of arm off"}};
  return result;
}

// The lowest share over all turns but the first, which has nothing to reuse.
Result CachedShare(const Arm& arm) {
  Result result{.metric = absl::StrCat("chat.cached_blocks.", Name(arm.kind())), .unit = "%"};
  result.ours = 100;
  for (size_t t = 1; t < arm.turns().size(); ++t) {
    result.ours = std::min(result.ours, 100 * arm.turns()[t].cached_share());
  }
  result.goal = Goal{Goal::Of::kOurs, Goal::Bound::kAtLeast, 90};
  result.context = {{"what", "lowest share of full prompt blocks from the cache, turn 2 on"}};
  return result;
}

Result TtftSpeedup(const Arm& arm, const Arm& off) {
  Result result{.metric = absl::StrCat("chat.ttft_speedup.", Name(arm.kind())), .unit = "x"};
  result.ours =
      off.turns().back().summary.ttft_seconds() / arm.turns().back().summary.ttft_seconds();
  result.goal =
      Goal{Goal::Of::kOurs, Goal::Bound::kAtLeast, arm.kind() == ArmKind::kRam ? 8.0 : 4.0};
  result.context = {{"what", "TTFT of the last turn, cache off over this arm"},
                    {"ttft_off_ms", Milliseconds(off.turns().back())},
                    {"ttft_ms", Milliseconds(arm.turns().back())}};
  return result;
}

}  // namespace

absl::StatusOr<std::vector<Result>> RunChatBench(const ChatBenchOptions& options,
                                                 std::ostream& out) {
  ASSIGN_OR_RETURN(const Conversation conversation, ReadConversation(options.conversation_path));
  if (conversation.turns.size() < 2) {
    return absl::InvalidArgumentError(
        absl::StrCat(options.conversation_path, ": \"turns\" holds ", conversation.turns.size(),
                     "; from the second on something can be reused, so two are needed"));
  }
  ASSIGN_OR_RETURN(const TempFolder folder, TempFolder::Make("reprise-bench-chat"));
  std::vector<std::unique_ptr<Arm>> arms;
  Progress progress("chat turns", static_cast<int64_t>(kArms.size() * conversation.turns.size()));
  for (const ArmKind kind : kArms) {
    progress.Update(0, absl::StrCat("starting the server of arm ", Name(kind)));
    arms.push_back(std::make_unique<Arm>(kind, options, conversation, folder.path()));
    RETURN_IF_ERROR(arms.back()->Start());
  }
  int64_t played = 0;
  for (size_t t = 0; t < conversation.turns.size(); ++t) {
    for (const auto& arm : arms) {
      progress.Update(played++, absl::StrFormat("turn %d, arm %s", t + 1, Name(arm->kind())));
      RETURN_IF_ERROR(arm->PlayTurn());
    }
  }
  PrintTurns(arms, out);
  std::vector<Result> results;
  for (size_t a = 1; a < arms.size(); ++a) {
    results.push_back(SameOutput(*arms[a], *arms[0]));
    results.push_back(CachedShare(*arms[a]));
    results.push_back(TtftSpeedup(*arms[a], *arms[0]));
  }
  return results;
}

}  // namespace reprise::bench
