// RedisServer: a redis-server on a Unix socket that keeps everything in memory, started and ended
// by a benchmark. Owns the process, which goes with the object. Thread-compatible.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace reprise::bench {

class RedisServer {
 public:
  // Starts `redis-server` of the PATH without persistence, its socket in `directory`, which must
  // exist and outlive it, and waits until it is ready. It refuses to hold more than `max_bytes`.
  // BLOCKS. kNotFound: it is not installed; kUnavailable: it ended before it was ready, with its
  // last line.
  static absl::StatusOr<std::unique_ptr<RedisServer>> Start(const std::string& directory,
                                                            int64_t max_bytes);
  ~RedisServer();
  RedisServer(const RedisServer&) = delete;
  RedisServer& operator=(const RedisServer&) = delete;

  // Path of the Unix socket that clients connect to.
  const std::string& socket_path() const { return socket_path_; }

 private:
  explicit RedisServer(std::string socket_path) : socket_path_(std::move(socket_path)) {}
  // Reads what the server prints until it says that it is ready; the errors of Start.
  absl::Status AwaitReady();
  // Ends the process, waits until it is gone and returns how it ended, as waitpid tells.
  int Kill();

  const std::string socket_path_;
  pid_t pid_ = -1;
  int stdout_fd_ = -1;  // kept open: a server must not die of a closed pipe
};

}  // namespace reprise::bench
