#include "engine/engine.h"

#include <atomic>
#include <iterator>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "cachestore/base/status_macros.h"
#include "engine/backend/backend.h"
#include "engine/backend/kv_format.h"
#include "engine/block_fit.h"
#include "engine/engine_loop.h"
#include "engine/engine_request.h"
#include "engine/model/model.h"
#include "engine/sched/block_budget.h"

namespace reprise::engine {

using cachestore::KvLayout;
using cachestore::NamespaceHandle;
using cachestore::NamespaceIdentity;
using cachestore::TieredStore;

class Engine::Impl {
 public:
  // Everything that Open() has to load or that can fail.
  struct Loaded {
    std::unique_ptr<Backend> backend;
    std::unique_ptr<Model> model;  // uses the backend
    std::unique_ptr<Tokenizer> tokenizer;
  };

  Impl(const EngineOptions& options, Loaded loaded, TieredStore* store)
      : loaded_(std::move(loaded)),
        layout_(WithDType(loaded_.model->layout(options.block_tokens), options.kv_dtype)),
        store_(store) {}

  // Finds out what the store has room for and starts the engine thread. Called once, first.
  absl::Status Start(const EngineOptions& options) {
    ASSIGN_OR_RETURN(const NamespaceHandle ns, NamespaceOf("default", ""));
    loop_ = std::make_unique<EngineLoop>(
        EngineParts{loaded_.model.get(), loaded_.backend.get(), loaded_.tokenizer.get(), store_},
        ns.layout,
        BlockBudget(store_->capacity_blocks(ns, store_->compute_tier()), layout_.block_tokens,
                    model_config().max_positions, store_->compute_tier()),
        SchedulerOptions{.step_tokens = options.step_tokens,
                         .max_running = options.max_running,
                         .prefix_loading = options.prefix_loading},
        options.max_waiting);
    return absl::OkStatus();
  }

  absl::StatusOr<NamespaceHandle> NamespaceOf(const std::string& tenant, const std::string& salt)
      ABSL_LOCKS_EXCLUDED(namespaces_mu_) {
    const std::pair<std::string, std::string> name(tenant, salt);
    {
      absl::MutexLock lock(&namespaces_mu_);
      if (auto it = namespaces_.find(name); it != namespaces_.end()) return it->second;
      RETURN_IF_ERROR(CheckRoom(tenant));
    }
    // Two threads may both come here; the store gives both the same namespace.
    ASSIGN_OR_RETURN(const NamespaceHandle ns, store_->OpenNamespace(IdentityOf(tenant, salt)));
    absl::MutexLock lock(&namespaces_mu_);
    if (namespaces_.emplace(name, ns).second) ++tenant_namespaces_[tenant];
    return ns;
  }

  // Where `request` keeps its blocks. Without the cache only the shape of blocks matters, and no
  // namespace is opened for it; so it is when no more may be opened.
  absl::StatusOr<NamespaceHandle> NamespaceFor(GenerateRequest& request)
      ABSL_LOCKS_EXCLUDED(namespaces_mu_) {
    if (request.cache == CacheMode::kUse) {
      absl::StatusOr<NamespaceHandle> ns = NamespaceOf(request.tenant, request.salt);
      if (!absl::IsResourceExhausted(ns.status())) return ns;
      ++uncached_requests_;
      request.cache = CacheMode::kOff;
    }
    return NamespaceOf("default", "");
  }

  EngineStats stats() const {
    EngineStats stats = loop_->stats();
    stats.uncached_requests = uncached_requests_;
    return stats;
  }

  NamespaceIdentity IdentityOf(const std::string& tenant, const std::string& salt) const {
    NamespaceIdentity identity;
    identity.model_digest = loaded_.model->digest();
    identity.tokenizer_digest = loaded_.tokenizer->digest();
    identity.adapter_digest = "none";
    identity.layout = layout_;
    identity.kv_scales = std::string(cachestore::KvScalesName(layout_.scales));
    identity.position_scheme = loaded_.model->position_scheme();
    identity.tenant = tenant;
    identity.salt = salt;
    return identity;
  }

  EngineLoop& loop() { return *loop_; }
  cachestore::DType kv_dtype() const { return layout_.dtype; }
  const Tokenizer& tokenizer() const { return *loaded_.tokenizer; }
  const ChatFormat& chat_format() const { return chat_format_; }
  const ModelConfig& model_config() const { return loaded_.model->config(); }

 private:
  // Whether one more namespace may be opened for a request of `tenant`.
  absl::Status CheckRoom(const std::string& tenant) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(namespaces_mu_) {
    const auto of_tenant = tenant_namespaces_.find(tenant);
    const bool is_full =
        of_tenant != tenant_namespaces_.end() && of_tenant->second >= kMaxTenantNamespaces;
    if (!is_full && std::ssize(namespaces_) < kMaxNamespaces) return absl::OkStatus();
    return absl::ResourceExhaustedError(absl::StrCat("requests have used ", namespaces_.size(),
                                                     " namespaces (tenants and salts); "
                                                     "at most ",
                                                     kMaxNamespaces, " may be open, ",
                                                     kMaxTenantNamespaces, " of one tenant"));
  }

  const Loaded loaded_;
  const ChatFormat chat_format_{ChatFormat::Choose(loaded_.tokenizer.get())};
  const KvLayout layout_;
  TieredStore* const store_;

  absl::Mutex namespaces_mu_;
  // By (tenant, salt).
  absl::flat_hash_map<std::pair<std::string, std::string>, NamespaceHandle> namespaces_
      ABSL_GUARDED_BY(namespaces_mu_);
  absl::flat_hash_map<std::string, int64_t> tenant_namespaces_ ABSL_GUARDED_BY(namespaces_mu_);
  std::atomic<int64_t> uncached_requests_{0};

  std::unique_ptr<EngineLoop> loop_;  // last: its thread uses the model
};

namespace {

// Of those that a block goes through on its way to the model and back.
TierSize SmallestTier(const TieredStore& store) {
  const cachestore::StoreStats stats = store.stats();
  const bool has_gpu = store.compute_tier() == cachestore::Tier::kGpu;
  if (has_gpu && stats.gpu_capacity_bytes < stats.ram_capacity_bytes) {
    return {"GPU", stats.gpu_capacity_bytes};
  }
  return {"RAM", stats.ram_capacity_bytes};
}

}  // namespace

absl::StatusOr<std::unique_ptr<Engine>> Engine::Open(const EngineOptions& options,
                                                     TieredStore* store,
                                                     std::unique_ptr<Backend> backend,
                                                     const ModelLoader& load) {
  RETURN_IF_ERROR(options.Validate());
  // What can be wrong without the weights comes first: loading and hashing them takes its time.
  ASSIGN_OR_RETURN(const ModelConfig config, ReadModelConfig(options.model_folder));
  RETURN_IF_ERROR(
      CheckBlockFits(config, options.block_tokens, options.kv_dtype, SmallestTier(*store)));
  Impl::Loaded loaded;
  ASSIGN_OR_RETURN(loaded.tokenizer, LoadTokenizer(options.model_folder));
  loaded.backend = backend != nullptr ? std::move(backend) : NewCpuBackend(options.num_threads);
  ASSIGN_OR_RETURN(loaded.model, load != nullptr
                                     ? load(options.model_folder, loaded.backend.get())
                                     : LoadModel(options.model_folder, loaded.backend.get()));
  auto impl = std::make_unique<Impl>(options, std::move(loaded), store);
  RETURN_IF_ERROR(impl->Start(options));
  return std::unique_ptr<Engine>(new Engine(std::move(impl)));
}

Engine::Engine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Engine::~Engine() = default;

absl::StatusOr<RequestId> Engine::Submit(GenerateRequest request, std::shared_ptr<TokenSink> sink) {
  RETURN_IF_ERROR(ValidateRequest(request, model_config()));
  if (request.exact_kv && !IsExact(impl_->kv_dtype())) {
    return absl::FailedPreconditionError(
        absl::StrCat("the request demands exact KV, but this engine keeps it rounded to ",
                     cachestore::DTypeName(impl_->kv_dtype()),
                     "; serve the model with kv_dtype fp32, or leave exact_kv out of the request"));
  }
  ASSIGN_OR_RETURN(const NamespaceHandle ns, impl_->NamespaceFor(request));
  return impl_->loop().Submit(ns, std::move(request), std::move(sink));
}

void Engine::Cancel(RequestId id) { impl_->loop().Cancel(id); }

absl::StatusOr<NamespaceHandle> Engine::NamespaceOf(const std::string& tenant,
                                                    const std::string& salt) {
  return impl_->NamespaceOf(tenant, salt);
}

NamespaceIdentity Engine::IdentityOf(const std::string& tenant, const std::string& salt) const {
  return impl_->IdentityOf(tenant, salt);
}

absl::Status Engine::health() const { return impl_->loop().health(); }
void Engine::OnLost(std::function<void()> callback) { impl_->loop().OnLost(std::move(callback)); }

const Tokenizer& Engine::tokenizer() const { return impl_->tokenizer(); }
const ChatFormat& Engine::chat_format() const { return impl_->chat_format(); }
const ModelConfig& Engine::model_config() const { return impl_->model_config(); }
EngineStats Engine::stats() const { return impl_->stats(); }

}  // namespace reprise::engine
