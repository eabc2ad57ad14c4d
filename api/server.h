// Server: the gRPC server with every service on it: Cache, Inference, grpc.health.v1 and
// reflection; and, where it is asked for, a second one for operators, with Admin and reflection.
// Owns the services and the listening sockets; not the store and the engine, which outlive it.
// Thread-compatible; the services are thread-safe.
#pragma once

#include <grpcpp/server.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "api/admin_service.h"
#include "api/auth/guard.h"
#include "api/auth/running_calls.h"
#include "api/cache_service.h"
#include "api/inference_service.h"
#include "api/limits.h"
#include "api/listen_address.h"
#include "api/local/arena_socket.h"
#include "api/log/call_log.h"
#include "api/record/recording.h"
#include "cachestore/store/tiered_store.h"
#include "engine/engine.h"

namespace reprise::api {

// What a server serves. Not owned.
struct ServedParts {
  cachestore::TieredStore* store = nullptr;
  engine::Engine* engine = nullptr;  // nullptr: no model; Inference answers FAILED_PRECONDITION
  std::string model_name;            // last component of the model folder
  std::string arena_socket;          // where clients on this host get the RAM tier; empty: nowhere
  std::optional<SessionLimits> session_limits;  // unset: those of api/limits.h
  Guard* guard = nullptr;                       // nullptr: nobody has to show a credential
  // How long a client whose call holds a thread may take for a message, and for what follows the
  // last one of the answer.
  absl::Duration max_message_time = kMaxMessageTime;
  absl::Duration max_silence = kMaxSilence;
  CallLog* log = nullptr;   // of calls; nullptr: none
  std::string record_file;  // where requests are recorded from the start; empty: nowhere
  // Where the Admin service listens, what it calls to read files anew (not set: the guard's), and
  // what to shut the server down; not set: nowhere.
  std::optional<ListenAddress> admin_listen;
  AdminService::Reloader reload;
  AdminService::Drainer drain;
};

class Server {
 public:
  // Starts listening. Health says SERVING from then on ("reprise.v1.Inference" only with a model).
  // kUnavailable: the address is taken or not this machine's; kInvalidArgument: tokens would cross
  // a network in plaintext, or the file of the recording is wrong; kAlreadyExists: it is there.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const ListenAddress& listen,
                                                       const ServedParts& parts);
  // Shuts down without grace.
  ~Server();

  // Where the server listens, with the real port; what clients connect to.
  const ListenAddress& address() const { return address_; }
  // The same of the Admin service. REQUIRES: it is offered.
  const ListenAddress& admin_address() const { return admin_address_; }

  SessionTable& sessions() { return cache_service_.sessions(); }
  // Of sessions, leases and prefetches.
  LeaseStats::Values session_stats() const { return cache_service_.session_stats(); }
  RecordingTotals recording_totals() const { return recording_.totals(); }
  // What Get calls hold of RAM.
  const SendBudget& send_budget() const { return cache_service_.send_budget(); }

  // Turns health to NOT_SERVING, ends sessions, takes no new calls, lets running ones go on until
  // `deadline`, then ends them with UNAVAILABLE. BLOCKS until the last has ended.
  void Shutdown(absl::Time deadline);

 private:
  Server(const ServedParts& parts, std::unique_ptr<Guard> open_guard);

  // Starts `services` on `listen`, whose port it sets to the real one, and whose calls it counts in
  // `running`.
  absl::StatusOr<std::unique_ptr<grpc::Server>> StartOn(
      ListenAddress* listen, RunningCalls* running, const std::vector<grpc::Service*>& services);

  const std::unique_ptr<Guard> open_guard_;  // where the parts have none
  Guard* const guard_;
  CallLog* const log_;  // may be null
  RunningCalls running_;
  RunningCalls admin_running_;
  const absl::Duration max_silence_;
  CacheService cache_service_;
  std::unique_ptr<ArenaSocket> arena_socket_;  // null: not offered
  InferenceService inference_service_;
  Recording recording_;
  AdminService admin_service_;
  ListenAddress address_;
  ListenAddress admin_address_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<grpc::Server> admin_server_;  // null: not offered
};

}  // namespace reprise::api
