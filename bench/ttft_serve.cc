#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "bench/rounds.h"
#include "bench/running_engine.h"
#include "bench/ttft_rows.h"
#include "cachestore/base/status_macros.h"

namespace reprise::bench {
namespace {

using engine::CacheMode;

// Conversations side by side, each turn behind the answer to the one before.
struct Conversations {
  int count = 16;
  int turns = 8;
  int64_t first_tokens = 256;  // of the first message: documents, instructions
  int64_t turn_tokens = 64;    // of each later message
  int32_t answer_tokens = 32;

  int64_t answered_tokens() const { return int64_t{count} * turns * answer_tokens; }
  // Tokens that have to be computed as parts of prompts if nothing is computed twice: all messages.
  // (The last token of an answer is computed with the next prompt.)
  int64_t message_tokens() const {
    return count * (first_tokens + (turns - 1) * (turn_tokens + 1));
  }
  int64_t mean_context() const {
    return first_tokens + (turns - 1) * (turn_tokens + answer_tokens) / 2 + answer_tokens / 2;
  }
};

// One conversation: its prompts grow by the answers and the next messages.
absl::Status Converse(const Conversations& all, int number, CacheMode cache,
                      RunningEngine* running) {
  const int64_t vocab_size = running->engine().model_config().vocab_size;
  const std::vector<uint32_t> script =
      TtftPrompt(static_cast<uint64_t>(number),
                 all.first_tokens + (all.turns - 1) * all.turn_tokens, vocab_size);
  std::vector<uint32_t> prompt(script.begin(), script.begin() + all.first_tokens);
  auto next = script.begin() + all.first_tokens;
  for (int turn = 0; turn < all.turns; ++turn) {
    ASSIGN_OR_RETURN(const Answer answer, running->Generate(prompt, all.answer_tokens, cache));
    if (turn + 1 == all.turns) break;
    prompt.insert(prompt.end(), answer.tokens.begin(), answer.tokens.end());
    prompt.insert(prompt.end(), next, next + all.turn_tokens);
    next += all.turn_tokens;
  }
  return absl::OkStatus();
}

// Seconds of all conversations. `round` makes their texts new, so that no round helps the next.
absl::StatusOr<double> ConverseAll(const Conversations& all, int round, CacheMode cache,
                                   RunningEngine* running) {
  absl::Mutex mu;
  absl::Status first_error;  // guarded by mu
  const double seconds = SecondsOf([&] {
    std::vector<std::thread> threads;
    for (int i = 0; i < all.count; ++i) {
      threads.emplace_back([&, i] {
        const absl::Status status = Converse(all, round * all.count + i, cache, running);
        absl::MutexLock lock(&mu);
        first_error.Update(status);
      });
    }
    for (std::thread& thread : threads) thread.join();
  });
  RETURN_IF_ERROR(first_error);
  return seconds;
}

// Seconds of the same conversations if every token is computed once, by the model alone: the
// messages at the rate of a prompt, the answers in full batches.
absl::StatusOr<double> Bound(const Conversations& all, BareModel* bare) {
  const int64_t context = all.mean_context();
  const int64_t vocab_size = bare->model->config().vocab_size;
  std::vector<std::vector<uint32_t>> prompts;
  for (int i = 0; i < all.count; ++i) {
    prompts.push_back(TtftPrompt(static_cast<uint64_t>(i), context, vocab_size));
  }
  ASSIGN_OR_RETURN(const Decoded prompted, bare->decoder->Prompt(prompts));
  constexpr int kSteps = 16;
  ASSIGN_OR_RETURN(const Decoded decoded, bare->decoder->Decode(kSteps));
  const double prompt_token = prompted.seconds / static_cast<double>(all.count * context);
  const double answer_token = decoded.seconds / (kSteps * all.count);
  // The first token of an answer comes with its prompt.
  const int64_t decoded_tokens = all.answered_tokens() - int64_t{all.count} * all.turns;
  return prompt_token * static_cast<double>(all.message_tokens()) +
         answer_token * static_cast<double>(decoded_tokens);
}

}  // namespace

absl::StatusOr<std::vector<Result>> MeasureServe(const TtftSetting& setting) {
  Conversations all;
  if (setting.extent == Extent::kQuick) {
    all = {.count = 2, .turns = 2, .first_tokens = 32, .turn_tokens = 16, .answer_tokens = 4};
  }
  ASSIGN_OR_RETURN(const std::string folder, TtftModel(setting, "gpt2_bf16"));
  engine::EngineOptions options;
  options.model_folder = folder;
  options.num_threads = setting.num_threads;
  cachestore::StoreOptions store;
  store.ram.capacity_bytes = ByExtent<int64_t>(setting.extent, 64, 3072) << 20;
  ASSIGN_OR_RETURN(const std::unique_ptr<RunningEngine> running,
                   RunningEngine::Open(options, store));
  ASSIGN_OR_RETURN(BareModel bare, BareModel::Load(folder, setting.num_threads));
  int round = 0;
  const Arm arms[] = {
      {"cache on", [&] { return ConverseAll(all, ++round, CacheMode::kUse, running.get()); }},
      {"cache off", [&] { return ConverseAll(all, round, CacheMode::kOff, running.get()); }},
      {"bound", [&] { return Bound(all, &bare); }}};
  ASSIGN_OR_RETURN(const std::vector<double> seconds,
                   MedianOfRounds("serve", ByExtent(setting.extent, 1, 2), arms));
  const auto rate = [&](double s) { return static_cast<double>(all.answered_tokens()) / s; };
  Result row{.metric = "serve.throughput", .unit = "tokens/s", .ours = rate(seconds[0])};
  row.peer = rate(seconds[1]);
  row.limit = rate(seconds[2]);
  row.context = {{"conversations", absl::StrCat(all.count, " at a time, of ", all.turns, " turns")},
                 {"limit", "every token computed once, by the model alone"},
                 {"peer", "the same engine without its cache"}};
  return std::vector<Result>{std::move(row)};
}

}  // namespace reprise::bench
