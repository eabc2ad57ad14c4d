// The groups of rows of suite "rpc". What each row means and where its limit comes from:
// bench/README.md. Each function measures its group and returns its rows; errors are the server's
// or the machine's. BLOCKS for seconds to minutes.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "bench/extent.h"
#include "bench/report.h"

namespace reprise::bench {

// rpc.match_*: looking up a prompt, beside a round trip of as many bytes.
absl::StatusOr<std::vector<Result>> MeasureRpcMatch(Extent extent);

// rpc.get_*, rpc.put_*: blocks over one connection, beside raw TCP and redis-server.
absl::StatusOr<std::vector<Result>> MeasureRpcTransfer(Extent extent);

// shm.get_*, shm.put_*: blocks read and written where they lie, beside reading and copying memory.
absl::StatusOr<std::vector<Result>> MeasureRpcSharedMemory(Extent extent);

// rpc.*_2mib_vs_mooncake, rpc.*_2mib_vs_lmcache: beside other stores' servers, as far as folder
// `peers` has them.
absl::StatusOr<std::vector<Result>> MeasureRpcPeers(Extent extent, const std::string& peers);

// serve.open_loop_*: chats that arrive at 50 and 90 % of what the server can take. An error of any
// request is an error of the group.
absl::StatusOr<std::vector<Result>> MeasureRpcOpenLoop(Extent extent);

// rpc.mixed, rpc.stalled_readers: what puts and readers that do not read do to others.
absl::StatusOr<std::vector<Result>> MeasureRpcLoad(Extent extent);

}  // namespace reprise::bench
