// StorePeer: another store of blocks in a child process, which speaks the lines of
// store_protocol.py. Thread-compatible.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "bench/peers/peer_process.h"

namespace reprise::bench {

class StorePeer {
 public:
  // Errors are PeerProcess::Start's. BLOCKS.
  static absl::StatusOr<std::unique_ptr<StorePeer>> Start(std::vector<std::string> command);

  const std::string& name() const { return process_->name(); }
  // Seconds of storing all blocks as round `number`, and of fetching them again. Errors of both:
  // kUnavailable: the process is gone; kInternal: its own message, or an answer that is none.
  absl::StatusOr<double> Put(int number) { return Ask("put", number); }
  absl::StatusOr<double> Get(int number) { return Ask("get", number); }

 private:
  explicit StorePeer(std::unique_ptr<PeerProcess> process) : process_(std::move(process)) {}
  absl::StatusOr<double> Ask(const std::string& command, int number);

  const std::unique_ptr<PeerProcess> process_;
};

}  // namespace reprise::bench
