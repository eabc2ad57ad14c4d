// GpuAttentionPeers: attention of other libraries on the same GPU, in a process of their own
// (bench/gpu/peers/attention_peers.py), as arms beside ours.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "bench/peers/peer_process.h"
#include "bench/rounds.h"

namespace reprise::bench {

class GpuAttentionPeers {
 public:
  // No peers for an empty command. Errors are PeerProcess::Start's.
  static absl::StatusOr<GpuAttentionPeers> Start(const std::vector<std::string>& command);

  // An arm for each library that can do `work`: "decode BATCH CONTEXT" or "prefill TOKENS", in bf16
  // and the shape of AttentionShape. Its figure is the seconds of one launch, of `launches`; it
  // refers to this. The process takes the memory for `work` at the first, and keeps it until
  // Forget.
  std::vector<Arm> ArmsFor(const std::string& work, int launches);
  // Gives the memory back.
  absl::Status Forget();

 private:
  explicit GpuAttentionPeers(std::unique_ptr<PeerProcess> process) : process_(std::move(process)) {}
  absl::StatusOr<double> Seconds(const std::string& line);

  std::unique_ptr<PeerProcess> process_;  // null: there are no peers
};

}  // namespace reprise::bench
