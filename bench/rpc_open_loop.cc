// Rows serve.open_loop: chat conversations that arrive whether or not the ones before are done.
#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "api/client/inference_client.h"
#include "api/server.h"
#include "bench/bench_models.h"
#include "bench/progress.h"
#include "bench/rounds.h"
#include "bench/rpc_rows.h"
#include "bench/running_engine.h"
#include "bench/server_process.h"
#include "bench/synthetic.h"
#include "bench/temp_folder.h"
#include "cachestore/base/status_macros.h"

namespace reprise::bench {
namespace {

constexpr absl::Duration kTimeout = absl::Minutes(5);

// A chat: each turn goes on from the answer to the one before, after its user has thought.
struct Chat {
  int turns = 4;
  int64_t first_tokens = 256;  // of the first message: instructions, documents
  int64_t turn_tokens = 48;    // of each later message
  int32_t answer_tokens = 16;
  absl::Duration mean_think = absl::Seconds(1);
};

// A server with a model: a process of its own; with a quick extent in this one.
class ModelServer {
 public:
  static absl::StatusOr<std::unique_ptr<ModelServer>> Start(Extent extent) {
    ASSIGN_OR_RETURN(TempFolder made, TempFolder::Make("reprise-bench-open-loop"));
    std::unique_ptr<ModelServer> server(new ModelServer(std::move(made)));
    const std::string& folder = server->folder_.path();
    const std::vector<BenchModel> models = BenchModels(extent);
    const auto model = std::find_if(models.begin(), models.end(),
                                    [](const BenchModel& m) { return m.name == "gpt2_bf16"; });
    server->vocab_size_ = model->options.vocab_size;
    ASSIGN_OR_RETURN(const std::string weights, MakeBenchModel(*model, folder));
    if (extent == Extent::kFull) {
      ASSIGN_OR_RETURN(server->process_,
                       ServerProcess::Start({"--model", weights, "--ram-bytes", "3GiB"},
                                            absl::StrCat(folder, "/log")));
      server->address_ = server->process_->address();
      return server;
    }
    engine::EngineOptions options;
    options.model_folder = weights;
    cachestore::StoreOptions store;
    store.ram.capacity_bytes = int64_t{64} << 20;
    ASSIGN_OR_RETURN(server->running_, RunningEngine::Open(options, store));
    ASSIGN_OR_RETURN(const api::ListenAddress listen, api::ParseListenAddress("127.0.0.1:0"));
    api::ServedParts parts;
    parts.store = &server->running_->store();
    parts.engine = &server->running_->engine();
    ASSIGN_OR_RETURN(server->server_, api::Server::Start(listen, parts));
    server->address_ = server->server_->address().ToString();
    return server;
  }

  const std::string& address() const { return address_; }
  int64_t vocab_size() const { return vocab_size_; }

 private:
  explicit ModelServer(TempFolder folder) : folder_(std::move(folder)) {}

  const TempFolder folder_;
  std::unique_ptr<ServerProcess> process_;
  std::unique_ptr<RunningEngine> running_;
  std::unique_ptr<api::Server> server_;
  std::string address_;
  int64_t vocab_size_ = 0;
};

// What the users of many chats saw. Thread-safe.
class Experience {
 public:
  void Add(double ttft_seconds) {
    absl::MutexLock lock(&mu_);
    ttft_.push_back(ttft_seconds);
  }
  void Fail(const absl::Status& status) {
    absl::MutexLock lock(&mu_);
    status_.Update(status);
  }
  absl::Status status() const {
    absl::MutexLock lock(&mu_);
    return status_;
  }
  // In milliseconds. REQUIRES: somebody saw something.
  double Percentile(double share) const {
    absl::MutexLock lock(&mu_);
    std::vector<double> sorted = ttft_;
    std::sort(sorted.begin(), sorted.end());
    const double rank = std::ceil(share * static_cast<double>(sorted.size()));
    return sorted[static_cast<size_t>(std::max(rank, 1.0)) - 1] * 1e3;
  }

 private:
  mutable absl::Mutex mu_;
  std::vector<double> ttft_ ABSL_GUARDED_BY(mu_);
  absl::Status status_ ABSL_GUARDED_BY(mu_);  // the first that failed
};

// Exponentially distributed with mean 1.
double NextExponential(Random* random) {
  return -std::log1p(-static_cast<double>(random->Below(1 << 30)) / (1 << 30));
}

class Users {
 public:
  Users(const ModelServer& server, const Chat& chat) : server_(server), chat_(chat) {}

  // Chats a second when `streams` users begin a chat as soon as they have ended one, and do not
  // think.
  absl::StatusOr<double> Capacity(int streams, int chats_each, api::v1::CacheUse cache) {
    Experience seen;
    const double seconds = SecondsOf([&] {
      std::vector<std::thread> users;
      for (int i = 0; i < streams; ++i) {
        users.emplace_back([this, &seen, first = NextChats(chats_each), chats_each, cache] {
          for (int n = 0; n < chats_each; ++n) {
            Converse(first + static_cast<uint64_t>(n), absl::ZeroDuration(), cache, &seen);
          }
        });
      }
      for (std::thread& user : users) user.join();
    });
    RETURN_IF_ERROR(seen.status());
    return streams * chats_each / seconds;
  }

  // `count` chats that begin at random times, `chats_per_s` in the mean, whatever the server does.
  // An error of any of their requests is the result.
  absl::Status Arrive(int count, double chats_per_s, api::v1::CacheUse cache, Experience* seen) {
    Random random(1);  // the same arrivals each time, but for the pace
    std::vector<std::thread> users;
    absl::Time next = absl::Now();
    for (int i = 0; i < count; ++i) {
      next += absl::Seconds(NextExponential(&random) / chats_per_s);
      absl::SleepFor(next - absl::Now());
      users.emplace_back([this, seen, number = NextChats(1), cache] {
        Converse(number, chat_.mean_think, cache, seen);
      });
    }
    for (std::thread& user : users) user.join();
    return seen->status();
  }

 private:
  // Numbers of chats that nobody has had, so that none helps another.
  uint64_t NextChats(int count) {
    return std::exchange(next_chat_, next_chat_ + static_cast<uint64_t>(count));
  }

  void Converse(uint64_t number, absl::Duration mean_think, api::v1::CacheUse cache,
                Experience* seen) const {
    api::InferenceClient client(server_.address());
    std::vector<uint32_t> script =
        SyntheticTokens(number, chat_.first_tokens + (chat_.turns - 1) * chat_.turn_tokens);
    for (uint32_t& token : script) token %= static_cast<uint32_t>(server_.vocab_size());
    Random random(number);
    api::v1::GenerateRequest request;
    request.set_cache_use(cache);
    request.mutable_stop()->set_max_new_tokens(chat_.answer_tokens);
    request.mutable_stop()->set_ignore_eos(true);
    auto& prompt = *request.mutable_token_ids()->mutable_ids();
    auto spoken = script.begin() + chat_.first_tokens;
    prompt.Add(script.begin(), spoken);
    for (int turn = 0; turn < chat_.turns; ++turn) {
      std::vector<uint32_t> answer;
      const absl::Time asked = absl::Now();
      const auto done = client.Generate(request, kTimeout, [&](const api::v1::TokenChunk& chunk) {
        if (answer.empty()) seen->Add(absl::ToDoubleSeconds(absl::Now() - asked));
        answer.push_back(chunk.token_id());
      });
      if (!done.ok()) return seen->Fail(done.status());
      if (turn + 1 == chat_.turns) return;
      prompt.Add(answer.begin(), answer.end());
      prompt.Add(spoken, spoken + chat_.turn_tokens);
      spoken += chat_.turn_tokens;
      absl::SleepFor(mean_think * NextExponential(&random));
    }
  }

  const ModelServer& server_;
  const Chat chat_;
  uint64_t next_chat_ = 1;
};

// The rows of one load: with the cache at `rate` chats a second, without it at `rate_off`.
std::vector<Result> Rows(const std::string& load, const Experience& on, double rate,
                         const Experience& off, double rate_off) {
  std::vector<Result> rows;
  for (const auto& [name, share] : {std::pair{"p50", 0.50}, std::pair{"p99", 0.99}}) {
    Result row{.metric = absl::StrCat("serve.open_loop_", load, "_ttft_", name),
               .unit = "ms",
               .ours = on.Percentile(share)};
    row.peer = off.Percentile(share);
    row.context = {{"ours", absl::StrCat(rate, " chats a second, with the cache")},
                   {"peer", absl::StrCat(rate_off, " chats a second, the same server without it")},
                   {"arrivals", "Poisson; no request failed"}};
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace

absl::StatusOr<std::vector<Result>> MeasureRpcOpenLoop(Extent extent) {
  constexpr api::v1::CacheUse kOn = api::v1::CACHE_USE_DEFAULT;
  constexpr api::v1::CacheUse kOff = api::v1::CACHE_USE_OFF;
  Chat chat;
  if (extent == Extent::kQuick) {
    chat = {.turns = 2,
            .first_tokens = 32,
            .turn_tokens = 16,
            .answer_tokens = 4,
            .mean_think = absl::ZeroDuration()};
  }
  const int streams = ByExtent(extent, 2, 16);
  const int chats = ByExtent(extent, 4, 48);
  ASSIGN_OR_RETURN(const std::unique_ptr<ModelServer> server, ModelServer::Start(extent));
  Users users(*server, chat);
  Progress progress("serve.open_loop", 8);
  RETURN_IF_ERROR(users.Capacity(streams, 1, kOn).status());  // the first does not count
  progress.Update(1, "capacity");
  ASSIGN_OR_RETURN(const double most_on, users.Capacity(streams, 2, kOn));
  progress.Update(2, "capacity, cache off");
  ASSIGN_OR_RETURN(const double most_off, users.Capacity(streams, 2, kOff));
  std::vector<Result> rows;
  const auto add = [&rows](std::vector<Result> more) {
    rows.insert(rows.end(), more.begin(), more.end());
  };
  Experience half_on;
  Experience half_off;
  progress.Update(3, "50 %");
  RETURN_IF_ERROR(users.Arrive(chats, 0.5 * most_on, kOn, &half_on));
  RETURN_IF_ERROR(users.Arrive(chats, 0.5 * most_off, kOff, &half_off));
  add(Rows("50", half_on, 0.5 * most_on, half_off, 0.5 * most_off));
  Experience full_on;
  Experience full_off;
  progress.Update(5, "90 %");
  RETURN_IF_ERROR(users.Arrive(chats, 0.9 * most_on, kOn, &full_on));
  RETURN_IF_ERROR(users.Arrive(chats, 0.9 * most_off, kOff, &full_off));
  add(Rows("90", full_on, 0.9 * most_on, full_off, 0.9 * most_off));
  // What a user gains who has that much to serve and switches the cache on.
  Experience same;
  progress.Update(7, "the same load");
  RETURN_IF_ERROR(users.Arrive(chats, 0.9 * most_off, kOn, &same));
  add(Rows("same_load", same, 0.9 * most_off, full_off, 0.9 * most_off));
  return rows;
}

}  // namespace reprise::bench
