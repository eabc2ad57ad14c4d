// TestServer: a real server in this process, on a Unix socket in a temporary folder, with a small
// store (RAM and disk) and, if asked for, a tiny demo model.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "api/auth/guard.h"
#include "api/client/cache_client.h"
#include "api/client/channel.h"
#include "api/client/inference_client.h"
#include "api/server.h"
#include "cachestore/base/check.h"
#include "cachestore/store/tiered_store.h"
#include "engine/engine.h"
#include "engine/model/demo_model.h"
#include "tests/fakes/faulty_tier.h"
#include "tests/fakes/memory_backing_tier.h"
#include "tests/fakes/temp_folder.h"

namespace reprise::api {

constexpr absl::Duration kTestTimeout = absl::Seconds(60);
constexpr int32_t kTestBlockTokens = 8;

class TestServer {
 public:
  // What a test wants other than usual.
  struct Options {
    int64_t ram_bytes = 16 << 20;
    int64_t disk_bytes = 16 << 20;  // 0: no disk tier
    cachestore::EvictionOrder eviction = cachestore::StoreOptions().eviction;
    int64_t max_positions = 512;  // 0: no model
    int32_t max_running = 8;
    int32_t max_waiting = 8;
    std::optional<SessionLimits> session_limits;
    // With faults, the disk tier lies in memory and fails as they say.
    std::shared_ptr<cachestore::FaultPlan> faults;
    GuardOptions guard;
    std::string listen;          // empty: a Unix socket
    bool shared_memory = false;  // offers the arena to clients
    int64_t remembered_events = 65536;
    absl::Duration max_message_time = kMaxMessageTime;
    absl::Duration max_silence = kMaxSilence;
    bool admin = false;      // offers the Admin service on a second Unix socket
    CallLog* log = nullptr;  // of calls; nullptr: none
  };

  explicit TestServer(const Options& options) : options_(options) {
    if (options_.max_positions > 0) WriteModel();
    Start();
  }
  ~TestServer() { Stop(); }

  // Opens everything again over the same disk tier.
  void Restart() {
    Stop();
    Start();
  }

  std::string address() const { return server_->address().ToString(); }
  CacheClient cache() const { return CacheClient(address()); }
  InferenceClient inference() const { return InferenceClient(address()); }
  cachestore::TieredStore& store() { return *store_; }
  engine::Engine& engine() { return *engine_; }
  Server& server() { return *server_; }
  Guard& guard() { return *guard_; }
  // Whether somebody has asked the server to end.
  bool drained() const { return drained_; }
  const TempFolder& folder() const { return folder_; }

 private:
  void WriteModel() {
    engine::DemoModelOptions model;
    model.hidden_size = 32;
    model.num_layers = 1;
    model.num_heads = 4;
    model.num_kv_heads = 2;
    model.intermediate_size = 32;
    model.max_positions = options_.max_positions;
    CHECK(engine::WriteDemoModel(model, folder_ / "tiny").ok());
  }

  void Start() {
    cachestore::StoreOptions store_options;
    store_options.ram.capacity_bytes = options_.ram_bytes;
    store_options.eviction = options_.eviction;
    if (options_.disk_bytes > 0 && options_.faults == nullptr) {
      store_options.disk.directory = folder_ / "disk";
    }
    store_options.disk.capacity_bytes = options_.disk_bytes;
    store_options.remembered_events = options_.remembered_events;
    auto store = options_.faults == nullptr
                     ? cachestore::TieredStore::Open(store_options)
                     : cachestore::TieredStore::Open(
                           store_options,
                           std::make_unique<cachestore::FaultyTier>(
                               std::make_unique<cachestore::MemoryBackingTier>(options_.disk_bytes),
                               options_.faults));
    CHECK(store.ok());
    store_ = *std::move(store);
    ServedParts parts;
    parts.store = store_.get();
    parts.session_limits = options_.session_limits;
    if (options_.max_positions > 0) {
      engine::EngineOptions engine_options;
      engine_options.model_folder = folder_ / "tiny";
      engine_options.block_tokens = kTestBlockTokens;
      engine_options.max_running = options_.max_running;
      engine_options.max_waiting = options_.max_waiting;
      engine_options.num_threads = 1;
      engine_options.prefix_loading = engine::PrefixLoading::kAlways;
      auto engine = engine::Engine::Open(engine_options, store_.get());
      CHECK(engine.ok());
      engine_ = *std::move(engine);
      parts.engine = engine_.get();
      parts.model_name = "tiny";
    }
    auto guard = Guard::Open(options_.guard);
    CHECK(guard.ok());
    guard_ = *std::move(guard);
    parts.guard = guard_.get();
    parts.max_message_time = options_.max_message_time;
    parts.max_silence = options_.max_silence;
    parts.log = options_.log;
    if (options_.admin) {
      parts.admin_listen.emplace().unix_path = folder_ / "admin";
      parts.drain = [this] { drained_ = true; };
    }
    ListenAddress listen;
    listen.unix_path = folder_ / "socket";
    if (!options_.listen.empty()) listen = *ParseListenAddress(options_.listen);
    if (options_.shared_memory) parts.arena_socket = folder_ / "arena";
    auto server = Server::Start(listen, parts);
    CHECK(server.ok());
    server_ = *std::move(server);
  }

  void Stop() {
    server_.reset();
    guard_.reset();
    engine_.reset();
    store_.reset();
  }

  const Options options_;
  TempFolder folder_;
  std::unique_ptr<cachestore::TieredStore> store_;
  std::unique_ptr<engine::Engine> engine_;
  std::unique_ptr<Guard> guard_;
  std::unique_ptr<Server> server_;
  std::atomic<bool> drained_ = false;
};

// An identity of blocks of 8 tokens and 512 bytes, as another engine would open it.
inline v1::NamespaceIdentity TestIdentity() {
  v1::NamespaceIdentity identity;
  identity.set_model_digest("model-a");
  identity.set_tokenizer_digest("tokenizer-a");
  identity.set_adapter_digest("none");
  identity.mutable_layout()->set_num_layers(2);
  identity.mutable_layout()->set_num_kv_heads(1);
  identity.mutable_layout()->set_head_dim(8);
  identity.mutable_layout()->set_block_tokens(kTestBlockTokens);
  identity.mutable_layout()->set_dtype(v1::DTYPE_FP16);
  identity.set_kv_scales("none");
  identity.set_position_scheme("rope theta=10000");
  identity.set_tensor_parallel_size(1);
  identity.set_pipeline_parallel_size(1);
  identity.set_tenant("default");
  return identity;
}

// `num_blocks` blocks of token ids, different in every block.
inline std::vector<uint32_t> TestTokens(int64_t num_blocks) {
  std::vector<uint32_t> tokens;
  for (int64_t i = 0; i < num_blocks * kTestBlockTokens; ++i) {
    tokens.push_back(static_cast<uint32_t>(1000 + i));
  }
  return tokens;
}

// Payloads of `block_bytes` bytes, different in every block.
inline std::vector<std::string> TestPayloads(int64_t num_blocks, int64_t block_bytes) {
  std::vector<std::string> payloads;
  for (int64_t i = 0; i < num_blocks; ++i) {
    std::string payload(static_cast<size_t>(block_bytes), '\0');
    for (size_t b = 0; b < payload.size(); ++b) {
      payload[b] = static_cast<char>(b * 31 + static_cast<size_t>(i) * 7 + 1);
    }
    payloads.push_back(std::move(payload));
  }
  return payloads;
}

// The blocks that hold `tokens` from block `first` on, with these payloads.
inline std::vector<PutBlock> TestBlocks(const std::vector<uint32_t>& tokens,
                                        const std::vector<std::string>& payloads, size_t first) {
  std::vector<PutBlock> blocks;
  for (size_t i = first; i < payloads.size(); ++i) {
    blocks.push_back(
        {absl::MakeConstSpan(tokens).subspan(i * kTestBlockTokens, kTestBlockTokens), payloads[i]});
  }
  return blocks;
}

}  // namespace reprise::api
