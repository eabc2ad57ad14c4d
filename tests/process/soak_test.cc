// A server under everything at once: two tenants over TCP, an operator in shared memory, HTTP,
// generations, readers that are slow or read nothing; clients are killed and its credentials read
// anew all the time. At the end nothing is held, and its memory has not grown. For some seconds in
// the suite; for REPRISE_SOAK_SECONDS by tests/soak.sh.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <iostream>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "absl/synchronization/notification.h"
#include "api/client/inference_client.h"
#include "tests/api/credentials_fixture.h"
#include "tests/api/raw_http.h"
#include "tests/api/small_window.h"
#include "tests/fakes/test_seed.h"
#include "tests/process/service_process.h"

namespace reprise::api {
namespace {

using ::testing::AnyOf;

// How fast anonymous memory may grow in the second half of a long run. In the first it fills with
// what is bounded: the store's ring of events, the index of its disk tier, and what malloc keeps.
constexpr double kMaxGrowthKiBPerMinute = 512;
constexpr absl::Duration kMeasurable = absl::Minutes(20);
constexpr int64_t kMaxGrowthKiB = 64 << 10;  // of a short run

absl::Duration SoakTime() {
  const char* seconds = std::getenv("REPRISE_SOAK_SECONDS");
  int64_t value = 8;
  if (seconds != nullptr) CHECK(absl::SimpleAtoi(seconds, &value) && value > 0);
  return absl::Seconds(value);
}

// Of a process, as Linux counts it: "VmRSS" or "RssAnon".
int64_t MemoryKiB(pid_t pid, const std::string& name) {
  std::ifstream status(absl::StrCat("/proc/", pid, "/status"));
  for (std::string line; std::getline(status, line);) {
    absl::string_view value = line;
    if (!absl::ConsumePrefix(&value, name + ":") || !absl::ConsumeSuffix(&value, " kB")) continue;
    int64_t kib = 0;
    if (absl::SimpleAtoi(value, &kib)) return kib;
  }
  return 0;
}

struct Sample {
  absl::Duration at;
  int64_t chats, generations;  // so far
  int64_t rss_kib, anonymous_kib, sessions, leases, grants, pins;
};

// KiB a minute, by least squares.
double Slope(const std::vector<Sample>& samples) {
  double n = 0, x = 0, y = 0, xx = 0, xy = 0;
  for (const Sample& sample : samples) {
    const double t = absl::ToDoubleMinutes(sample.at);
    const double m = static_cast<double>(sample.anonymous_kib);
    n += 1, x += t, y += m, xx += t * t, xy += t * m;
  }
  return (n * xy - x * y) / (n * xx - x * x);
}

// A client process of the load, which is killed again and again.
struct Client {
  std::string flags, token;
  std::unique_ptr<ChildProcess> process;
  absl::Time ends;
};

class SoakTest : public ::testing::Test {
 protected:
  SoakTest() {
    const CommandResult made =
        RunCommand({"make-model", "--out", folder_ / "tiny", "--hidden-size", "32", "--layers", "1",
                    "--heads", "4", "--kv-heads", "2", "--intermediate-size", "32"});
    EXPECT_EQ(made.exit_code, 0) << made.errors;
    server_ = std::make_unique<ChildProcess>(std::vector<std::string>{"serve",
                                                                      "--model",
                                                                      folder_ / "tiny",
                                                                      "--threads",
                                                                      "1",
                                                                      "--block-tokens",
                                                                      "8",
                                                                      "--listen",
                                                                      "127.0.0.1:0",
                                                                      "--arena-socket",
                                                                      folder_ / "arena",
                                                                      "--http-listen",
                                                                      "127.0.0.1:0",
                                                                      "--credentials",
                                                                      credentials_.path(),
                                                                      "--audit-log",
                                                                      credentials_.audit_log(),
                                                                      "--ram-bytes",
                                                                      "32MiB",
                                                                      "--disk-dir",
                                                                      folder_ / "disk",
                                                                      "--disk-bytes",
                                                                      "64MiB"});
    http_ = *ParseListenAddress(server_->AwaitLine("http: "));
    address_ = server_->AwaitLine("listening on ");
    operator_ = std::make_unique<CacheClient>(address_, ClientAccess{.token = credentials_.admin});
  }

  // Calls `work` until the soak ends, on a thread of its own.
  void Repeat(std::function<void()> work) {
    threads_.emplace_back([this, work = std::move(work)] {
      while (!done_.HasBeenNotified()) work();
    });
  }
  void Pause(absl::Duration time) { done_.WaitForNotificationWithTimeout(time); }

  void StartWork() {
    Repeat([this] { Chat(/*reads=*/true); });
    Repeat([this] { Chat(/*reads=*/false); });
    Repeat([this] { Generate(); });
    Repeat([this] { GetSlowly(); });
    Repeat([this] { StallGets(); });
    Repeat([this] { WatchSlowly(); });
  }

  // A streamed answer over HTTP, read to its end, or not at all.
  void Chat(bool reads) {
    RawHttp http(http_, reads ? 0 : 4096);
    const std::string body = absl::StrCat(
        R"({"model":"tiny","stream":true,"max_tokens":)", reads ? 8 : 200,
        R"(,"messages":[{"role":"user","content":"Number )", ++chats_, R"( of many"}]})");
    http.Send(absl::StrCat("POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n",
                           "Authorization: Bearer ", credentials_.alice,
                           "\r\nContent-Type: application/json\r\nContent-Length: ", body.size(),
                           "\r\n\r\n", body));
    if (!reads) return Pause(absl::Milliseconds(300));
    const RawResponse response = http.Read();
    EXPECT_THAT(response.status, AnyOf(200, 429, 503)) << response.body;
  }

  void Generate() {
    InferenceClient client(address_, {.token = credentials_.bob});
    v1::GenerateRequest request;
    request.set_text(absl::StrCat("Generation number ", ++generations_));
    request.mutable_stop()->set_max_new_tokens(16);
    const auto summary = client.Generate(request, kProcessTimeout, [](const v1::TokenChunk&) {});
    EXPECT_TRUE(summary.ok() || absl::IsResourceExhausted(summary.status())) << summary.status();
  }

  // A chain of the tenant's load, once it is there.
  v1::GetRequest ChainOf(CacheClient& client) {
    const auto ns = client.OpenNamespace(ChainIdentity(""), kProcessTimeout);
    EXPECT_TRUE(ns.ok()) << ns.status();
    v1::GetRequest request;
    request.set_namespace_id(ns.ok() ? ns->namespace_id() : 0);
    for (const uint32_t token : ChainTokens(ChainId(newest_client_, 0, 0))) {
      request.add_token_ids(token);
    }
    return request;
  }
  void GetSlowly() {
    CacheClient client(address_, {.token = credentials_.bob});
    const auto got = client.Get(ChainOf(client), kProcessTimeout,
                                [this](const v1::GetResponse&) { Pause(absl::Milliseconds(50)); });
    EXPECT_TRUE(got.ok()) << got.status();
    Pause(absl::Milliseconds(20));
  }
  // Clients that ask and read nothing, and go.
  void StallGets() {
    CacheClient client(address_, {.token = credentials_.alice});
    const v1::GetRequest request = ChainOf(client);
    const auto stub = v1::Cache::NewStub(ConnectTo(address_, {.token = credentials_.alice}));
    grpc::ClientContext contexts[8];
    std::vector<std::unique_ptr<grpc::ClientReader<v1::GetResponse>>> readers;
    for (grpc::ClientContext& context : contexts) readers.push_back(stub->Get(&context, request));
    Pause(absl::Milliseconds(200));
    for (grpc::ClientContext& context : contexts) context.TryCancel();
    v1::GetResponse response;
    for (const auto& reader : readers) {
      while (reader->Read(&response)) {
      }
      reader->Finish();
    }
  }
  void WatchSlowly() {
    CacheClient client(address_, {.token = credentials_.alice});
    int events = 0;
    const auto status =
        client.Watch(v1::WatchRequest(), absl::Seconds(2), [&](const v1::CacheEvent&) {
          Pause(absl::Milliseconds(20));
          return ++events < 50 && !done_.HasBeenNotified();
        });
    EXPECT_TRUE(status.ok() || absl::IsDeadlineExceeded(status) || absl::IsCancelled(status))
        << status;
  }

  // Ends the clients whose time has come, every other one by kill -9, and starts new ones.
  void TendClients(bool again) {
    for (Client& client : clients_) {
      if (client.process != nullptr) {
        const bool runs = client.process->ReadUntil(absl::Now() + absl::Milliseconds(30));
        EXPECT_TRUE(runs) << "a client has ended: " << client.process->ReadErrors();
        if (runs && again && absl::Now() < client.ends) continue;
        // Who has said nothing yet may not have got as far as to heed SIGTERM.
        const bool kills = newest_client_ % 2 == 0 || client.process->output().empty();
        client.process->Signal(kills ? SIGKILL : SIGTERM);
        operations_ += Said(client.process->ReadAll()).operations;
        const std::string errors = client.process->ReadErrors();
        EXPECT_EQ(client.process->Wait(), kills ? 128 + SIGKILL : 0) << errors;
        client.process.reset();
      }
      if (!again) continue;
      client.process = std::make_unique<ChildProcess>(
          std::vector<std::string>{address_, absl::StrCat(++newest_client_), client.flags,
                                   client.token},
          "", REPRISE_SERVICE_LOAD);
      client.ends =
          absl::Now() + absl::Milliseconds(std::uniform_int_distribution<int>(500, 4000)(random_));
    }
  }

  // Other limits of a tenant, which change nothing that is felt.
  void Reload() {
    credentials_.Write(
        absl::StrCat("[tenants.bob]\ncalls-per-second = ", 1'000'000 + reloads_, "\n"));
    server_->Signal(SIGHUP);
    EXPECT_NE(server_->AwaitLine("reloaded "), "");
    ++reloads_;
  }

  Sample Look(absl::Duration at) {
    const auto stats = operator_->Stats(kProcessTimeout);
    EXPECT_TRUE(stats.ok()) << stats.status();
    Sample sample = {.at = at,
                     .chats = chats_,
                     .generations = generations_,
                     .rss_kib = MemoryKiB(server_->pid(), "VmRSS"),
                     .anonymous_kib = MemoryKiB(server_->pid(), "RssAnon")};
    if (!stats.ok()) return sample;
    sample.sessions = stats->sessions().at("sessions");
    sample.leases = stats->sessions().at("leases");
    sample.grants = stats->sessions().at("grants");
    sample.pins = stats->store().at("pinned_blocks");
    return sample;
  }
  static void Print(const std::vector<Sample>& samples) {
    std::cout << "  seconds  RSS MiB  anonymous MiB  sessions  leases  grants  pins  chats/s  "
                 "generations/s\n";
    const size_t step = std::max<size_t>(1, samples.size() / 15);
    Sample before = {};
    for (size_t i = 0; i < samples.size(); ++i) {
      const Sample& s = samples[i];
      if (i % step != 0 && i + 1 != samples.size()) continue;
      const double seconds = std::max(1.0, absl::ToDoubleSeconds(s.at - before.at));
      std::cout << absl::StrFormat(
          "%9.0f%9.1f%15.1f%10d%8d%8d%6d%9.1f%15.1f\n", absl::ToDoubleSeconds(s.at),
          static_cast<double>(s.rss_kib) / 1024, static_cast<double>(s.anonymous_kib) / 1024,
          s.sessions, s.leases, s.grants, s.pins,
          static_cast<double>(s.chats - before.chats) / seconds,
          static_cast<double>(s.generations - before.generations) / seconds);
      before = s;
    }
  }

  const TempFolder folder_;
  TestCredentials credentials_;
  std::unique_ptr<ChildProcess> server_;
  ListenAddress http_;
  std::string address_;
  std::unique_ptr<CacheClient> operator_;
  std::mt19937_64 random_{TestSeed()};
  absl::Notification done_;
  std::vector<std::thread> threads_;
  std::vector<Client> clients_;
  std::atomic<uint64_t> newest_client_ = 0;
  std::atomic<int> chats_ = 0;
  std::atomic<int> generations_ = 0;
  int64_t operations_ = 0;
  int reloads_ = 0;
};

TEST_F(SoakTest, EverythingAtOnceEndsWithNothingHeldAndFlatMemory) {
  clients_.push_back({.flags = "-", .token = credentials_.alice});
  clients_.push_back({.flags = "-", .token = credentials_.bob});
  clients_.push_back({.flags = "md", .token = credentials_.admin});
  const absl::Duration time = SoakTime();
  const absl::Time begin = absl::Now();
  TendClients(true);
  StartWork();
  std::vector<Sample> samples;
  absl::Duration next_sample;
  while (absl::Now() - begin < time && !HasFailure()) {
    TendClients(true);
    server_->ReadUntil(absl::Now() + absl::Milliseconds(10));
    if (absl::Now() - begin < next_sample) continue;
    samples.push_back(Look(absl::Now() - begin));
    Reload();
    next_sample += std::max(absl::Seconds(1), time / 300);
  }
  done_.Notify();
  for (std::thread& thread : threads_) thread.join();
  TendClients(false);
  EXPECT_EQ(HeldAfter(*operator_, absl::Seconds(5)), "");
  samples.push_back(Look(absl::Now() - begin));
  Print(samples);
  const std::vector<Sample> warm(samples.begin() + static_cast<ptrdiff_t>(samples.size() / 2),
                                 samples.end());
  const double slope = Slope(warm);
  std::cout << absl::StrFormat(
      "%d operations of %d clients, %d chats, %d generations, %d reloads; anonymous memory once "
      "warm: %+.0f KiB a minute (at most %.0f, in runs of 20 minutes and more)\n",
      operations_, newest_client_.load(), chats_.load(), generations_.load(), reloads_, slope,
      kMaxGrowthKiBPerMinute);
  if (time >= kMeasurable) {
    EXPECT_LE(slope, kMaxGrowthKiBPerMinute);
  }
  EXPECT_LT(warm.back().anonymous_kib - warm.front().anonymous_kib, kMaxGrowthKiB);
  EXPECT_GT(operations_, 100);
  EXPECT_GT(chats_, 2);
  EXPECT_GT(generations_, 2);
  server_->Signal(SIGTERM);
  EXPECT_NE(server_->AwaitLine("moved "), "");
  EXPECT_EQ(server_->Wait(), 0) << server_->ReadErrors();
}

// Get streams that are begun and not read.
class StalledGets {
 public:
  StalledGets(const std::string& address, int connections) {
    for (int i = 0; i < connections; ++i) {
      stubs_.push_back(v1::Cache::NewStub(ConnectWithWindow(address, 1 << 16)));
    }
  }
  ~StalledGets() {
    for (const auto& context : contexts_) context->TryCancel();
    v1::GetResponse response;
    for (const auto& reader : readers_) {
      while (reader->Read(&response)) {
      }
      reader->Finish();
    }
  }
  // Until there are `count`, each of which has been answered.
  void Begin(size_t count, const v1::GetRequest& request) {
    const size_t first = readers_.size();
    while (readers_.size() < count) {
      contexts_.push_back(std::make_unique<grpc::ClientContext>());
      readers_.push_back(
          stubs_[readers_.size() % stubs_.size()]->Get(contexts_.back().get(), request));
    }
    for (size_t i = first; i < count; ++i) readers_[i]->WaitForInitialMetadata();
  }

 private:
  std::vector<std::unique_ptr<v1::Cache::Stub>> stubs_;
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts_;
  std::vector<std::unique_ptr<grpc::ClientReader<v1::GetResponse>>> readers_;
};

// What a server's memory grows by for each reader that has stopped, besides the blocks in flight,
// which lie in RAM's arena and are bounded by what Gets may hold of it.
TEST(StalledMemoryTest, AThousandReadersThatHaveStoppedCostLittle) {
  constexpr int64_t kMaxKiBPerReader = 32;
  constexpr size_t kReaders = 1000;
  const TempFolder folder;
  ChildProcess server({"serve", "--listen", "unix:" + (folder / "s"), "--ram-bytes", "256MiB"});
  const std::string address = server.AwaitLine("listening on ");
  CacheClient client(address);
  v1::NamespaceIdentity identity = ChainIdentity(kChainTenant);
  identity.mutable_layout()->set_num_layers(64);  // 128 KiB: more than is on its way to a reader
  const auto ns = client.OpenNamespace(identity, kProcessTimeout);
  ASSERT_TRUE(ns.ok()) << ns.status();
  const std::string payload(static_cast<size_t>(ns->block_bytes()), 'x');
  v1::GetRequest request;
  request.set_namespace_id(ns->namespace_id());
  std::vector<uint32_t> tokens(16 * kChainBlockTokens, 7);
  request.mutable_token_ids()->Assign(tokens.begin(), tokens.end());
  std::vector<PutBlock> blocks(16, {absl::MakeConstSpan(tokens).first(kChainBlockTokens), payload});
  const auto put = client.Put(ns->namespace_id(), {}, blocks, kProcessTimeout);
  ASSERT_TRUE(put.ok() && put->stored_blocks() == 16) << put.status();
  std::cout << "  readers  RSS MiB  anonymous MiB\n";
  int64_t anonymous = 0;
  {
    StalledGets gets(address, 20);
    for (const size_t readers : {size_t{10}, size_t{100}, kReaders}) {
      gets.Begin(readers, request);
      const int64_t now = MemoryKiB(server.pid(), "RssAnon");
      std::cout << absl::StrFormat("%9d%9.1f%15.1f\n", readers,
                                   static_cast<double>(MemoryKiB(server.pid(), "VmRSS")) / 1024,
                                   static_cast<double>(now) / 1024);
      if (anonymous == 0) anonymous = now;
      if (readers < kReaders) continue;
      EXPECT_LE(now - anonymous, static_cast<int64_t>(kReaders) * kMaxKiBPerReader);
    }
    // Each of them holds a block: that many are in flight, and others are served.
    EXPECT_THAT(Held(client), ::testing::HasSubstr("pinned_blocks"));
  }
  EXPECT_EQ(HeldAfter(client, absl::Seconds(5)), "");
}

}  // namespace
}  // namespace reprise::api
