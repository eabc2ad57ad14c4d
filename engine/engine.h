// Engine: continuous batching over one model and one store. Owns the engine thread, the only one
// that runs the scheduler and the model. Thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cachestore/store/tiered_store.h"
#include "engine/engine_options.h"
#include "engine/model/model_config.h"
#include "engine/sched/request.h"
#include "engine/tokenizer/chat_format.h"
#include "engine/tokenizer/tokenizer.h"

namespace reprise::engine {

using RequestId = uint64_t;

class Backend;  // see engine/backend/backend.h
class Model;    // see engine/model/model.h

// How the model of a folder is loaded; must be of the folder's config.json.
using ModelLoader = std::function<absl::StatusOr<std::unique_ptr<Model>>(const std::string& folder,
                                                                         Backend* backend)>;

// Namespaces that requests may open in one engine, and those of one tenant: a namespace stays, and
// whoever may choose a salt could else fill the memory with them. Requests of one more are computed
// without the cache.
inline constexpr int64_t kMaxNamespaces = 65'536;
inline constexpr int64_t kMaxTenantNamespaces = 16'384;

// Counters and gauges of an engine. Counters only grow.
struct EngineStats {
  int64_t finished_requests = 0;
  int64_t failed_requests = 0;
  int64_t prompt_tokens = 0;     // of admitted requests
  int64_t cached_tokens = 0;     // of those, not computed
  int64_t prefilled_tokens = 0;  // computed
  int64_t decoded_tokens = 0;
  int64_t followed_blocks = 0;            // waited for while another request computed them
  int64_t preemptions = 0;                // a sequence gave its blocks back for others
  int64_t recomputed_tokens = 0;          // computed again after that
  int64_t missed_deadlines = 0;           // requests that ended by theirs
  int64_t passed_over_tokens = 0;         // cached on disk, and sooner computed than loaded
  int64_t abandoned_loads = 0;            // prefixes that were not all loaded in time
  int64_t arrived_prefixes = 0;           // used by a step while they were loaded
  int64_t void_steps = 0;                 // that waited in vain for a prefix to arrive
  int64_t uncached_requests = 0;          // for which no namespace was opened any more
  int64_t prefill_tokens_per_second = 0;  // gauge, of the last large steps; 0: none yet
  int64_t waiting_requests = 0;           // gauge; each sample of a request counts
  int64_t running_requests = 0;           // gauge; likewise
};

class Engine {
 public:
  // Loads the model folder and starts the engine thread. `store` must outlive the engine. The model
  // runs on `backend`, which reaches the blocks of store->compute_tier(); null: on the CPU. `load`
  // (null: LoadModel) is for weights that no file holds. BLOCKS. Errors as EngineOptions::Validate,
  // ReadModelConfig, CheckBlockFits, LoadTokenizer and LoadModel, in this order: the weights are
  // read last.
  static absl::StatusOr<std::unique_ptr<Engine>> Open(const EngineOptions& options,
                                                      cachestore::TieredStore* store,
                                                      std::unique_ptr<Backend> backend = nullptr,
                                                      const ModelLoader& load = nullptr);
  // Cancels every request (OnError(kUnavailable)) and joins the thread.
  ~Engine();

  // Queues a request. `sink` receives its output and is released after the last call.
  // kInvalidArgument: empty prompt, prompt longer than the context (both lengths named), token id,
  // priority or sampling parameter out of range; kResourceExhausted: the queue is full;
  // kFailedPrecondition: the request may need more KV blocks than the tier that is computed on has,
  // or demands exact KV of an engine that rounds it; kUnavailable: as health() says.
  absl::StatusOr<RequestId> Submit(GenerateRequest request, std::shared_ptr<TokenSink> sink);

  // Ends a request early: its sink gets OnFinish(kCancelled), unless it has ended already.
  void Cancel(RequestId id);

  // The namespace in which requests of this tenant and salt keep their blocks. kResourceExhausted:
  // it is not open, and as many are as may be; Submit goes without the cache then.
  absl::StatusOr<cachestore::NamespaceHandle> NamespaceOf(const std::string& tenant,
                                                          const std::string& salt);
  // The typed identity of that namespace.
  cachestore::NamespaceIdentity IdentityOf(const std::string& tenant,
                                           const std::string& salt) const;

  // OK, or why the engine has ended by itself: what the model is computed on has failed for good.
  // Every request that had not ended, and each one from then on, gets this kUnavailable. Only
  // another engine goes on; where a CUDA card is what failed, in another process.
  absl::Status health() const;
  // Calls `callback` once, on any thread, when health() is no longer OK; at once, if it is not. The
  // last one given counts. It must not end the engine.
  void OnLost(std::function<void()> callback);

  const Tokenizer& tokenizer() const;
  // How conversations are written for the model.
  const ChatFormat& chat_format() const;
  const ModelConfig& model_config() const;
  EngineStats stats() const;

 private:
  class Impl;
  explicit Engine(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace reprise::engine
