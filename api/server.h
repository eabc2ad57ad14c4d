// Server: the gRPC server with every service on it: Cache, Inference, grpc.health.v1 and
// reflection. Owns the services and the listening socket; not the store and the engine, which
// outlive it. Thread-compatible; the services are thread-safe.
#pragma once

#include <grpcpp/server.h>

#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "api/cache_service.h"
#include "api/inference_service.h"
#include "api/listen_address.h"
#include "cachestore/store/tiered_store.h"
#include "engine/engine.h"

namespace reprise::api {

// What a server serves. Not owned.
struct ServedParts {
  cachestore::TieredStore* store = nullptr;
  engine::Engine* engine = nullptr;  // nullptr: no model; Inference answers FAILED_PRECONDITION
  std::string model_name;            // last component of the model folder
  SharedArena arena;                 // what clients on this host may map; default: nothing
  std::optional<SessionLimits> session_limits;  // unset: those of api/limits.h
};

class Server {
 public:
  // Starts listening. Health says SERVING from then on ("reprise.v1.Inference" only with a model).
  // kUnavailable: the address is taken or not this machine's.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const ListenAddress& listen,
                                                       const ServedParts& parts);
  // Shuts down without grace.
  ~Server();

  // Where the server listens, with the real port; what clients connect to.
  const ListenAddress& address() const { return address_; }

  SessionTable& sessions() { return cache_service_.sessions(); }

  // Turns health to NOT_SERVING, ends sessions, takes no new calls, lets running ones go on until
  // `deadline`, then cancels them. BLOCKS until the last has ended.
  void Shutdown(absl::Time deadline);

 private:
  explicit Server(const ServedParts& parts);

  CacheService cache_service_;
  InferenceService inference_service_;
  ListenAddress address_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace reprise::api
