// CacheClient: the Cache service of one server, with absl types. What names blocks is token ids
// (a vector or span of uint32_t) or, in a namespace of such, cachestore::ExternalKeys, all of a
// call of one kind. Computes checksums of what it puts
// and verifies those of what it gets. Thread-safe.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "api/client/channel.h"
#include "api/client/opened_namespaces.h"
#include "api/client/unary_call.h"
#include "api/payload_wire.h"
#include "cachestore/block/block_content.h"
#include "reprise/v1/cache.grpc.pb.h"

namespace reprise::api {

namespace v1 = ::reprise::v1;

// One block to put. Points to memory of the caller, which gRPC reads where it is.
struct PutBlock {
  cachestore::BlockContent content;  // block_tokens ids, or one external key
  absl::string_view payload;         // block_bytes bytes
};

class CacheClient {
 public:
  // A client of the server that listens on `address`. Connects on first use, by as many connections
  // as asked for, which Puts and Gets take in turn: one carries as much as one core can.
  explicit CacheClient(const std::string& address, const ClientAccess& access = {},
                       int num_connections = 1);

  // Every call BLOCKS, `timeout` at most. Errors are the server's; kUnavailable: no server at the
  // address; kDeadlineExceeded: `timeout` has passed. The ids that OpenNamespace has returned stay
  // good when the server is started anew: where it knows them no more (kNotFound), what was opened
  // is opened again and the call made once more. A CacheSession, which ends with its server, knows
  // nothing of that: who opens another opens the namespace again for it.

  absl::StatusOr<v1::OpenNamespaceResponse> OpenNamespace(const v1::NamespaceIdentity& identity,
                                                          absl::Duration timeout);

  absl::StatusOr<v1::MatchResponse> Match(uint32_t namespace_id,
                                          const cachestore::BlockContent& prompt,
                                          absl::Duration timeout);

  // How many blocks of `prompt` are there in a row; with `independent_keys`, which of its keys are.
  absl::StatusOr<v1::ExistsResponse> Exists(uint32_t namespace_id,
                                            const cachestore::BlockContent& prompt,
                                            bool independent_keys, absl::Duration timeout);

  // In all that follows, `hints` are what is known of the request.

  // Counts the cached prefix of `prompt` as used now; returns its blocks.
  absl::StatusOr<int64_t> Touch(uint32_t namespace_id, const cachestore::BlockContent& prompt,
                                absl::Duration timeout, const v1::CacheHints& hints = {});

  // Starts loading the cached prefix of `prompt` into RAM, at most `max_blocks` of it (0: all).
  absl::StatusOr<v1::PrefetchResponse> Prefetch(uint32_t namespace_id,
                                                const cachestore::BlockContent& prompt,
                                                int64_t max_blocks, absl::Duration timeout,
                                                const v1::CacheHints& hints = {});

  // Stores `blocks` in order behind `prefix`, which must be stored already. A block that the server
  // rejects ends the run. The response counts, explains, and has one result a block. Payloads are
  // not copied; when this has returned, nothing reads them any more.
  absl::StatusOr<v1::PutResponse> Put(uint32_t namespace_id, const cachestore::BlockContent& prefix,
                                      absl::Span<const PutBlock> blocks, absl::Duration timeout,
                                      const v1::CacheHints& hints = {});

  // Stores blocks that stand alone, each named by its external key. One that is rejected leaves the
  // others alone.
  absl::StatusOr<v1::PutResponse> PutLone(uint32_t namespace_id, absl::Span<const PutBlock> blocks,
                                          absl::Duration timeout);

  // Reads the cached blocks of `prompt` from block `first_block` on; `on_block` sees them in order,
  // on the calling thread. Returns how many there were. kDataLoss: a payload does not match its
  // checksum.
  absl::StatusOr<int64_t> Get(uint32_t namespace_id, const cachestore::BlockContent& prompt,
                              int64_t first_block, absl::Duration timeout,
                              absl::FunctionRef<void(const v1::GetResponse&)> on_block);

  // The same for any request: blocks of a lease, or those of independent keys.
  absl::StatusOr<int64_t> Get(const v1::GetRequest& request, absl::Duration timeout,
                              absl::FunctionRef<void(const v1::GetResponse&)> on_block);

  // The same into memory of the caller: `place` says where block `index`, `bytes` long, shall be
  // copied to, the one copy there is. What of it is written when kDataLoss is returned is
  // undefined.
  absl::StatusOr<int64_t> GetInto(const v1::GetRequest& request, absl::Duration timeout,
                                  absl::FunctionRef<std::byte*(int64_t index, size_t bytes)> place);

  // Why `prompt` hits or misses, block by block.
  absl::StatusOr<v1::ExplainResponse> Explain(uint32_t namespace_id,
                                              const cachestore::BlockContent& prompt,
                                              absl::Duration timeout);

  // A page of blocks; the response's cursor, if it has one, goes into the next request.
  absl::StatusOr<v1::ListResponse> List(const v1::ListRequest& request, absl::Duration timeout);

  absl::StatusOr<v1::UsageResponse> Usage(bool all_tenants, absl::Duration timeout);

  // What other sizes of RAM and disk would have made of the requests.
  absl::StatusOr<v1::WhatIfResponse> WhatIf(bool all_tenants, absl::Duration timeout);

  // Events as they come; `on_event` sees them in order, on the calling thread, until it says false.
  absl::Status Watch(const v1::WatchRequest& request, absl::Duration timeout,
                     absl::FunctionRef<bool(const v1::CacheEvent&)> on_event);

  // The blocks that `request` names, as a file in pieces: `on_bytes` sees them in order until it
  // says false.
  absl::Status Export(const v1::ExportRequest& request, absl::Duration timeout,
                      absl::FunctionRef<bool(absl::string_view)> on_bytes);

  // Stores the blocks of such a file. `next_bytes` gives it in pieces of 1 MiB at most; an empty
  // one is its end.
  absl::StatusOr<v1::ImportResponse> Import(absl::Duration timeout,
                                            absl::FunctionRef<std::string()> next_bytes);

  absl::StatusOr<v1::StatsResponse> Stats(absl::Duration timeout);

  // Returns how many blocks went from RAM to disk.
  absl::StatusOr<int64_t> Demote(absl::Duration timeout);

  // Takes the blocks that `request` names out of every tier; returns how many there were.
  absl::StatusOr<v1::InvalidateResponse> Invalidate(const v1::InvalidateRequest& request,
                                                    absl::Duration timeout);

 private:
  // Sends `first`, which says what kind of run it is and in which namespace, with each of the
  // blocks.
  absl::StatusOr<v1::PutResponse> PutIn(v1::PutRequest first, absl::Span<const PutBlock> blocks,
                                        absl::Duration timeout);
  absl::StatusOr<v1::PutResponse> PutOnce(v1::PutRequest first, absl::Span<const PutBlock> blocks,
                                          absl::Duration timeout);

  // Reads what Get streams; `use` sees each message, its payload beside it, and returns the
  // payload's XXH3-64.
  absl::StatusOr<int64_t> Read(const v1::GetRequest& request, absl::Duration timeout,
                               absl::FunctionRef<uint64_t(v1::GetResponse&, const Payload&)> use);
  absl::StatusOr<int64_t> ReadOnce(
      const v1::GetRequest& request, absl::Duration timeout,
      absl::FunctionRef<uint64_t(v1::GetResponse&, const Payload&)> use);
  // The connection whose turn it is.
  grpc::Channel* NextChannel();

  // Returns `call(id, timeout)`, a Status or StatusOr, with the id that the server has for what was
  // opened as `namespace_id` (0: nothing); opens it again where the server does not know it.
  template <typename Call>
  auto InNamespace(uint32_t namespace_id, absl::Duration timeout, Call call) {
    const absl::Time deadline = absl::Now() + timeout;
    const uint32_t id = namespaces_.CurrentOf(namespace_id);
    auto result = call(id, timeout);
    if (!IsNotFound(result)) return result;
    const absl::StatusOr<uint32_t> reopened = Reopen(namespace_id, deadline - absl::Now());
    // Something else was not found.
    if (!reopened.ok() || *reopened == id) return result;
    return call(*reopened, deadline - absl::Now());
  }
  // The same for a unary method and the namespace that `request` is about.
  template <typename Request, typename Response>
  absl::StatusOr<Response> CallIn(grpc::Status (v1::Cache::Stub::*method)(grpc::ClientContext*,
                                                                          const Request&,
                                                                          Response*),
                                  Request request, absl::Duration timeout) {
    return InNamespace(request.namespace_id(), timeout, [&](uint32_t id, absl::Duration left) {
      request.set_namespace_id(id);
      return CallUnary(*stub_, method, request, left);
    });
  }
  static bool IsNotFound(const absl::Status& status) { return absl::IsNotFound(status); }
  template <typename Response>
  static bool IsNotFound(const absl::StatusOr<Response>& result) {
    return absl::IsNotFound(result.status());
  }
  // Opens again what was opened as `namespace_id`; the id that it has now. kNotFound: nothing was.
  absl::StatusOr<uint32_t> Reopen(uint32_t namespace_id, absl::Duration timeout);
  absl::StatusOr<v1::OpenNamespaceResponse> Open(const v1::NamespaceIdentity& identity,
                                                 absl::Duration timeout);

  std::vector<std::shared_ptr<grpc::Channel>> channels_;  // constant after construction
  std::atomic<uint32_t> next_channel_ = 0;
  // What of blocks may go into one message of a Put; 0 until the server has said more.
  std::atomic<int64_t> put_message_bytes_ = 0;
  OpenedNamespaces namespaces_;
  const std::unique_ptr<v1::Cache::Stub> stub_;  // on the first of them
};

}  // namespace reprise::api
