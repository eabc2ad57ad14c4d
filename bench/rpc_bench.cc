#include "bench/rpc_bench.h"

#include "bench/row_groups.h"
#include "bench/rpc_rows.h"

namespace reprise::bench {

absl::StatusOr<std::vector<Result>> RunRpcBench(const RpcBenchOptions& options) {
  return RunGroups({{"match", [&] { return MeasureRpcMatch(options.extent); }},
                    {"transfer", [&] { return MeasureRpcTransfer(options.extent); }},
                    {"shm", [&] { return MeasureRpcSharedMemory(options.extent); }},
                    {"load", [&] { return MeasureRpcLoad(options.extent); }},
                    {"peers", [&] { return MeasureRpcPeers(options.extent, options.peers); }},
                    {"open_loop", [&] { return MeasureRpcOpenLoop(options.extent); }}},
                   options.groups, options.extent);
}

}  // namespace reprise::bench
