// LongCalls: threads for calls that never wait but take long to answer, as those about very long
// prompts do: the thread that has read such a call has others to read. Each counts among those of
// its tenant that hold a thread (CallShare). Owns its threads. Thread-safe.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <atomic>
#include <utility>

#include "absl/status/status.h"
#include "api/answer.h"
#include "api/limits.h"
#include "api/status_codec.h"
#include "cachestore/tier/io_threads.h"

namespace reprise::api {

class LongCalls {
 public:
  // At most `max_calls` run or wait for a thread.
  LongCalls(int num_threads, int max_calls) : max_calls_(max_calls), threads_(num_threads) {}
  LongCalls(const LongCalls&) = delete;
  LongCalls& operator=(const LongCalls&) = delete;

  // Answers the call with what `make` returns, a StatusOr<Response>: at once, or, when `request` is
  // a long one, soon, from one of the threads. RESOURCE_EXHAUSTED: as many run as may.
  template <typename Request, typename Make, typename Response>
  grpc::ServerUnaryReactor* Answer(grpc::CallbackServerContext* context, const Request& request,
                                   Make make, Response* response) {
    if (!IsLong(request)) return api::Answer(context, make(), response);
    grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
    if (const absl::Status begun = Begin(*context); !begun.ok()) {
      reactor->Finish(ToGrpc(begun));
      return reactor;
    }
    threads_.Post([this, context, reactor, response, make = std::move(make)] {
      const grpc::Status status =
          context->IsCancelled() ? grpc::Status::CANCELLED : api::Answer(make(), response);
      --calls_;
      reactor->Finish(status);
    });
    return reactor;
  }

 private:
  template <typename Request>
  static bool IsLong(const Request& request) {
    return request.token_ids_size() > kMaxQuickTokens ||
           request.external_keys_size() > kMaxQuickKeys;
  }
  // Counts the call.
  absl::Status Begin(const grpc::CallbackServerContext& context);

  const int max_calls_;
  std::atomic<int> calls_{0};
  cachestore::IoThreads threads_;  // last: what runs uses the others
};

}  // namespace reprise::api
