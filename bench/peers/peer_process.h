// PeerProcess: a peer in a child process, which answers a line for each line that it is sent. Owns
// the process, which goes with the object and keeps what it has loaded until then.
// Thread-compatible.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace reprise::bench {

class PeerProcess {
 public:
  // Starts `command` (a program and its arguments) and waits until it says "ready NAME". BLOCKS.
  // kUnavailable: it ended before or cannot run, with what it said.
  static absl::StatusOr<std::unique_ptr<PeerProcess>> Start(std::vector<std::string> command);
  ~PeerProcess();
  PeerProcess(const PeerProcess&) = delete;
  PeerProcess& operator=(const PeerProcess&) = delete;

  const std::string& name() const { return name_; }
  // Its answer to `line`; neither has a line's end. BLOCKS. kUnavailable: the process is gone.
  absl::StatusOr<std::string> Ask(absl::string_view line);
  // kInternal: says that `answer` is none, or is the peer's own "error MESSAGE".
  absl::Status NoAnswer(absl::string_view answer) const;

 private:
  explicit PeerProcess(std::string program) : program_(std::move(program)) {}
  absl::Status Send(absl::string_view line);
  absl::StatusOr<std::string> ReadLine();

  const std::string program_;
  std::string name_;
  pid_t pid_ = -1;
  int socket_ = -1;
  std::string unread_;  // received behind the last line
};

}  // namespace reprise::bench
