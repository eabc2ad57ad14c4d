// CallerTable: what is known of the gRPC calls that run, by their contexts, which have no place for
// it of their own. Nothing in it comes from what a client sent but through CallerInterceptor, which
// owns the entries. Thread-safe; an entry's work is its call's, one thread at a time.
#pragma once

#include <grpc/grpc.h>
#include <grpcpp/server_context.h>

#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "api/auth/call_share.h"
#include "api/auth/guard.h"
#include "api/auth/principal.h"
#include "api/log/call_log.h"
#include "api/log/request_ids.h"

namespace reprise::api {

// Who makes a call, and what the call has done.
struct Caller {
  Guard* guard = nullptr;
  Principal principal;  // whose rights the call has
  Principal author;     // who made it, for the logs: also when it was refused, and has no rights
  RequestIds ids;
  CallWork work;

  CallShare* share = nullptr;            // of the listener
  std::optional<std::string> shared_as;  // the tenant under which the call counts in it

  absl::Mutex mu;
  // How the server has ended the call from outside of its handler; OK: it has not.
  absl::Status end ABSL_GUARDED_BY(mu);
  // Null: it is over for gRPC, which may let go of it.
  grpc_call* call ABSL_GUARDED_BY(mu) = nullptr;
};

class CallerTable {
 public:
  // That of the process.
  static CallerTable& Get();

  // `caller` must stay until it is removed.
  void Add(const grpc::ServerContextBase* context, Caller* caller);
  // Does nothing when `caller` is not there (any more).
  void Remove(const grpc::ServerContextBase* context, const Caller* caller);
  // nullptr: the call has no CallerInterceptor. Good as long as the call's context lives.
  Caller* Find(const grpc::ServerContextBase& context) const;
  // Notes that the server ends the calls of `guard`'s listeners that are not over, with `status`,
  // and returns them, each with a reference that the caller gives back.
  std::vector<grpc_call*> EndCallsOf(const Guard* guard, const absl::Status& status);

 private:
  mutable absl::Mutex mu_;
  absl::flat_hash_map<const grpc::ServerContextBase*, Caller*> callers_ ABSL_GUARDED_BY(mu_);
};

}  // namespace reprise::api
