// ServerProcess: a `reprise serve` of our own binary, started, watched and ended by a benchmark.
// Owns the process: it is killed when the object goes. Thread-compatible.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace reprise::bench {

class ServerProcess {
 public:
  // Starts `reprise serve` with `flags` (without --listen: a port of the loopback interface that is
  // free is chosen) and waits until it is ready. Its stderr goes to `log_path`, appended. BLOCKS.
  // kUnavailable: it ended before it was ready; the message carries the last line of its log.
  static absl::StatusOr<std::unique_ptr<ServerProcess>> Start(std::vector<std::string> flags,
                                                              const std::string& log_path);
  ~ServerProcess();
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  // What clients connect to, e.g. "127.0.0.1:40123".
  const std::string& address() const { return address_; }

  pid_t pid() const { return pid_; }

  // Ends the process with SIGKILL, as a crash would, and waits until it is gone.
  void Kill();

 private:
  ServerProcess(pid_t pid, int stdout_fd) : pid_(pid), stdout_fd_(stdout_fd) {}

  pid_t pid_;
  int stdout_fd_;  // kept open: a server must not die of a closed pipe
  std::string address_;
};

}  // namespace reprise::bench
