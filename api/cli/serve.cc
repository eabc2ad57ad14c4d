#include <signal.h>
#include <sys/stat.h>

#include <filesystem>
#include <functional>
#include <iostream>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "api/cli/commands.h"
#include "api/cli/serve_settings.h"
#include "api/cli/shutdown_signal.h"
#include "api/cli/table.h"
#include "api/http/http_frontend.h"
#include "api/serve_options.h"
#include "api/server.h"
#include "cachestore/base/status_macros.h"
#include "engine/backend/cuda/model_shape.h"
#include "engine/backend/cuda/open_card.h"
#include "engine/model/prefill_cost.h"

namespace reprise::api {
namespace {

std::string LastComponent(const std::string& folder) {
  std::error_code error;
  const std::filesystem::path path = std::filesystem::canonical(folder, error);
  return error ? folder : path.filename().string();
}

// The card that the options ask for; without one, neither of its parts. What is wrong with it, or
// with the model on it, comes before the slow steps.
absl::StatusOr<engine::cuda::OpenedCard> OpenCardFor(const ServeOptions& options) {
  if (options.device == ComputeDevice::kCpu) return engine::cuda::OpenedCard();
  ASSIGN_OR_RETURN(const engine::ModelConfig config,
                   engine::ReadModelConfig(options.engine.model_folder));
  RETURN_IF_ERROR(
      engine::cuda::CheckModelShape({config.head_dim, config.hidden_size, config.intermediate_size,
                                     config.experts.intermediate_size}));
  return engine::cuda::OpenCard();
}

// What the store is opened with: what it holds is of the model that is served, if there is one.
absl::StatusOr<cachestore::StoreOptions> StoreOptionsFor(const ServeOptions& options) {
  cachestore::StoreOptions store = options.store;
  if (options.engine.model_folder.empty()) return store;
  ASSIGN_OR_RETURN(const engine::ModelConfig config,
                   engine::ReadModelConfig(options.engine.model_folder));
  store.attention_tokens = engine::AttentionTokens(config);
  return store;
}

void PrintStore(const cachestore::StoreOptions& options, const cachestore::TieredStore& store) {
  if (options.gpu.capacity_bytes > 0) {
    std::cout << "gpu: " << BytesText(options.gpu.capacity_bytes) << "\n";
  }
  std::cout << "ram: " << BytesText(options.ram.capacity_bytes) << "\n";
  if (options.disk.directory.empty()) {
    std::cout << "disk: none\n";
    return;
  }
  std::cout << "disk: " << BytesText(options.disk.capacity_bytes) << " in "
            << options.disk.directory << ", recovered "
            << WithThousands(store.stats().recovered_blocks) << " blocks\n";
  for (const std::string& loss : store.losses()) std::cerr << "warning: " << loss << std::endl;
}

absl::Status PrintModel(const std::string& name, engine::Engine& engine,
                        const cachestore::TieredStore& store) {
  ASSIGN_OR_RETURN(const cachestore::NamespaceHandle ns, engine.NamespaceOf("default", ""));
  const bool on_gpu = store.compute_tier() == cachestore::Tier::kGpu;
  std::cout << "model: " << name << " (" << engine.model_config().architecture << "), context "
            << WithThousands(engine.model_config().max_positions) << " tokens, blocks of "
            << ns.layout.block_tokens << " tokens and "
            << BytesText(static_cast<int64_t>(ns.layout.BytesPerBlock())) << ", "
            << WithThousands(store.capacity_blocks(ns, store.compute_tier()))
            << " of them fit into " << (on_gpu ? "the GPU's memory" : "RAM") << "\n";
  return absl::OkStatus();
}

// How often what ends soon is said again.
constexpr absl::Duration kBetweenWarnings = absl::Hours(24);

void PrintWarnings(const Guard& guard) {
  for (const std::string& warning : guard.Warnings()) {
    std::cerr << "warning: " << warning << std::endl;
  }
}

// Reads all files anew, as SIGHUP asks, and says what became of it.
void Reload(ServeSettings& settings, Guard& guard) {
  const absl::StatusOr<std::vector<std::string>> changed = settings.Reload(guard);
  const std::string detail = changed.ok() ? absl::StrJoin(*changed, ", ") : "";
  guard.audit().Write(
      {.what = "Reload", .who = "SIGHUP", .outcome = changed.status(), .detail = detail});
  if (changed.ok()) {
    std::cout << "reloaded " << (detail.empty() ? "nothing new" : detail) << std::endl;
    PrintWarnings(guard);
  } else {
    std::cerr << "warning: not reloaded, the old ones stay: " << changed.status().message()
              << std::endl;
  }
}

// Where the RAM tier's memory is handed out; empty: nowhere, also where the path would be too long.
std::string ArenaSocketOf(const ServeOptions& options, const ListenAddress& listen) {
  if (!options.arena_socket.empty() || listen.unix_path.empty()) return options.arena_socket;
  const std::string beside = absl::StrCat(listen.unix_path, ".arena");
  return ParseListenAddress("unix:" + beside).ok() ? beside : "";
}

// HTTP, which is there from the start; null when it was not asked for.
absl::StatusOr<std::unique_ptr<HttpFrontend>> StartHttp(const ServeOptions& options, Guard* guard,
                                                        CallLog* log) {
  if (options.http_listen.empty()) return nullptr;
  ASSIGN_OR_RETURN(const ListenAddress listen, ParseListenAddress(options.http_listen));
  ASSIGN_OR_RETURN(std::unique_ptr<HttpFrontend> http,
                   HttpFrontend::Start(listen, guard, log, options.HttpHosts()));
  std::cout << "http: " << http->address().ToString() << std::endl;
  return http;
}

// Serves until a signal, or until the engine has ended by itself, and takes down what answers.
// Nothing here can fail while HTTP has calls in the engine, which it must not outlive.
void ServeUntilEnd(ServeSettings* settings, const ServedParts& parts, Server* server,
                   HttpFrontend* http, ShutdownSignal* signal) {
  if (http != nullptr) http->SetReady(parts, *server);
  settings->Follow([&parts](const ServeOptions& now) {
    parts.log->SetOptions(now.log);
    parts.store->SetDiskAdmission(now.store.disk.admission);
  });
  signal->Expect();
  if (parts.engine != nullptr) {
    parts.engine->OnLost([engine = parts.engine, signal] {
      std::cerr << "warning: " << engine->health().message() << std::endl;
      signal->Request();
    });
  }
  if (parts.admin_listen) {
    std::cout << "admin listening on " << server->admin_address().ToString() << std::endl;
  }
  std::cout << "listening on " << server->address().ToString() << std::endl;

  while (!signal->Wait(kBetweenWarnings)) PrintWarnings(*parts.guard);
  settings->Follow({});
  const absl::Time deadline =
      absl::Now() + absl::Seconds(settings->options().shutdown_grace_seconds);
  if (http != nullptr) http->Drain();
  std::cout << "shutting down" << std::endl;
  server->Shutdown(deadline);
  if (http != nullptr) http->Shutdown(deadline);
}

// Builds bottom-up (card, store, engine, server), serves, and takes down in reverse. An error, too,
// if the engine has ended by itself.
absl::Status Serve(ServeSettings* settings, Guard* guard, ShutdownSignal* signal) {
  const ServeOptions options = settings->options();
  ASSIGN_OR_RETURN(const ListenAddress listen, ParseListenAddress(options.listen));
  // Asked before the slow steps; the server finds out for certain.
  RETURN_IF_ERROR(CheckFree(listen));
  CallLog log(options.log);
  ServedParts parts;
  parts.guard = guard;
  parts.log = &log;
  parts.record_file = options.record_file;
  parts.reload = [settings, guard] { return settings->Reload(*guard); };
  parts.drain = [signal] { signal->Request(); };
  parts.arena_socket = ArenaSocketOf(options, listen);
  if (!options.admin_listen.empty()) {
    ASSIGN_OR_RETURN(parts.admin_listen, ParseListenAddress(options.admin_listen));
    RETURN_IF_ERROR(CheckFree(*parts.admin_listen));
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<HttpFrontend> http, StartHttp(options, guard, &log));
  ASSIGN_OR_RETURN(engine::cuda::OpenedCard card, OpenCardFor(options));
  ASSIGN_OR_RETURN(const cachestore::StoreOptions store_options, StoreOptionsFor(options));
  ASSIGN_OR_RETURN(const std::unique_ptr<cachestore::TieredStore> store,
                   cachestore::TieredStore::Open(store_options, card.device.get()));
  PrintStore(options.store, *store);
  parts.store = store.get();
  std::unique_ptr<engine::Engine> engine;
  if (options.engine.model_folder.empty()) {
    std::cout << "model: none, Cache service only\n";
  } else {
    std::cout << "loading " << options.engine.model_folder << " ..." << std::endl;
    auto opened = engine::Engine::Open(options.engine, store.get(), std::move(card.backend));
    RETURN_IF_ERROR(OfModelMemory(opened.status(), options));
    engine = *std::move(opened);
    parts.engine = engine.get();
    parts.model_name = LastComponent(options.engine.model_folder);
    RETURN_IF_ERROR(PrintModel(parts.model_name, *engine, *store));
  }
  ASSIGN_OR_RETURN(std::unique_ptr<Server> server, Server::Start(listen, parts));
  ServeUntilEnd(settings, parts, server.get(), http.get(), signal);
  server.reset();
  const absl::Status health = engine == nullptr ? absl::OkStatus() : engine->health();
  engine.reset();
  if (options.store.disk.directory.empty()) return health;
  ASSIGN_OR_RETURN(const int64_t demoted, store->Demote());
  std::cout << "moved " << WithThousands(demoted) << " blocks from RAM to disk" << std::endl;
  return health;
}

// Opens what says who may call, and serves.
absl::Status GuardAndServe(ServeSettings& settings) {
  // None has threads yet, as ShutdownSignal demands.
  ASSIGN_OR_RETURN(const std::unique_ptr<Guard> guard, Guard::Open(settings.options().guard));
  PrintWarnings(*guard);
  std::function<void()> reload;
  if (settings.has_files()) reload = [&settings, &guard] { Reload(settings, *guard); };
  ShutdownSignal shutdown(std::move(reload));
  return Serve(&settings, guard.get(), &shutdown);
}

}  // namespace

void AddServeCommand(FlagSet& program) {
  FlagSet& flags =
      program.AddCommand("serve", "serve a model and its KV cache, or the cache alone, over gRPC");
  const auto options = std::make_shared<ServeOptions>();
  AddServeFlags(flags, options.get());
  flags.SetExamples(
      "Sizes are plain bytes or take a unit: KB, MB, GB, TB (powers of 1000), KiB, MiB, GiB,\n"
      "TiB (powers of 1024). When ready, `listening on ADDR` is printed. Files and sockets are\n"
      "made for the user who runs the server alone.\n\n"
      "SIGHUP reads --config, --credentials, --tls-* and --audit-log anew where any of them is\n"
      "given, and says what changed. Of --config, log-level, log-format, shutdown-grace and\n"
      "disk-admission hold at once, the others from the next start on. What is wrong with a file\n"
      "is said, and all stays as it was.\n"
      "SIGTERM, SIGINT and else SIGHUP (the terminal was closed): no new calls; running ones go\n"
      "on for --shutdown-grace and end with UNAVAILABLE then; then RAM's blocks go to disk;\n"
      "exit code 0. Whoever stops the server should wait for both: the grace and the time to\n"
      "write --ram-bytes to disk. A second signal ends it at once; what is on disk survives.\n"
      "A card that has failed for good ends it in the same way, with exit code 1: whoever started\n"
      "it should do so again.\n\n"
      "Examples:\n"
      "  reprise serve --model models/llama --ram-bytes 8GiB --disk-dir /var/lib/reprise \\\n"
      "    --disk-bytes 100GiB\n"
      "  reprise serve --model models/llama --device cuda --gpu-bytes 40GiB --ram-bytes 64GiB\n"
      "  reprise serve --model models/llama --http-listen 127.0.0.1:8080\n"
      "  reprise serve --listen unix:/run/reprise.sock --disk-dir /var/lib/reprise\n"
      "  reprise serve --config serve.toml     # lines such as  ram-bytes = \"8GiB\"\n");
  flags.SetAction([options, &program, &flags] {
    const ServeOptions chosen = options->ForDevice();
    if (const absl::Status status = chosen.Validate(); !status.ok()) {
      ExitCode("serve", status);
      return kExitUsage;
    }
    umask(0077);               // what is cached, and who may ask for it, is this user's alone
    signal(SIGPIPE, SIG_IGN);  // whoever read our output may go; the server stays
    ServeSettings settings(program.args(), chosen, flags.Given());
    return ExitCode("serve", GuardAndServe(settings));
  });
}

}  // namespace reprise::api
