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
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "api/client/channel.h"
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
  // address; kDeadlineExceeded: `timeout` has passed.

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
  // Sends `first`, which says what kind of run it is, with each of the blocks.
  absl::StatusOr<v1::PutResponse> Put(v1::PutRequest first, absl::Span<const PutBlock> blocks,
                                      absl::Duration timeout);

  // Reads what Get streams; `use` sees each message, its payload beside it, and returns the
  // payload's XXH3-64.
  absl::StatusOr<int64_t> Read(const v1::GetRequest& request, absl::Duration timeout,
                               absl::FunctionRef<uint64_t(v1::GetResponse&, const Payload&)> use);
  // The connection whose turn it is.
  grpc::Channel* NextChannel();

  std::vector<std::shared_ptr<grpc::Channel>> channels_;  // constant after construction
  std::atomic<uint32_t> next_channel_ = 0;
  // What of blocks may go into one message of a Put; 0 until the server has said more.
  std::atomic<int64_t> put_message_bytes_ = 0;
  const std::unique_ptr<v1::Cache::Stub> stub_;  // on the first of them
};

}  // namespace reprise::api
