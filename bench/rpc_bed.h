// RpcBed: what the rows of suite "rpc" are measured on: a server, a namespace in it whose blocks
// are of one size, and memory as the blocks' source and target. Owns all of them.
// Thread-compatible.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "api/client/cache_client.h"
#include "api/server.h"
#include "bench/extent.h"
#include "bench/server_process.h"
#include "bench/temp_folder.h"
#include "cachestore/memory/host_arena.h"
#include "cachestore/store/tiered_store.h"

namespace reprise::bench {

inline constexpr absl::Duration kRpcTimeout = absl::Minutes(5);

class RpcBed {
 public:
  // Where the server listens: on a port of the loopback interface, or on a Unix socket, where it
  // offers shared memory too.
  enum class Socket { kTcp, kUnix };
  // A server with `ram_bytes` of RAM and no disk: a process of its own; with a quick extent in this
  // one. `data_bytes` of memory on this side. Errors are the server's.
  static absl::StatusOr<std::unique_ptr<RpcBed>> Start(Extent extent, int64_t ram_bytes,
                                                       int64_t data_bytes,
                                                       Socket socket = Socket::kTcp);
  ~RpcBed();

  const std::string& address() const { return address_; }
  // The process that the server runs in.
  pid_t server_pid() const;
  api::CacheClient& client() { return *client_; }
  absl::Span<std::byte> source() const { return source_->bytes(); }
  absl::Span<std::byte> target() const { return target_->bytes(); }

  // The id of the namespace with blocks of `block_bytes`.
  absl::StatusOr<uint32_t> Open(int64_t block_bytes);
  // Puts `count` blocks of the source as chain `chain`. kDataLoss: not all were stored.
  absl::Status Put(uint32_t namespace_id, uint64_t chain, int64_t count, int64_t block_bytes);
  // Gets them into the target. kDataLoss: not all came.
  absl::Status Get(uint32_t namespace_id, uint64_t chain, int64_t count, int64_t block_bytes);

 private:
  explicit RpcBed(TempFolder folder) : folder_(std::move(folder)) {}

  const TempFolder folder_;
  std::unique_ptr<ServerProcess> process_;
  std::unique_ptr<cachestore::TieredStore> store_;  // in this process
  std::unique_ptr<api::Server> server_;
  std::string address_;
  std::unique_ptr<api::CacheClient> client_;
  std::unique_ptr<cachestore::HostArena> source_;
  std::unique_ptr<cachestore::HostArena> target_;
};

}  // namespace reprise::bench
