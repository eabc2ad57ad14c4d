#include "bench/peers/redis_server.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "cachestore/base/status_macros.h"

namespace reprise::bench {
namespace {

constexpr int kNotInstalled = 127;  // exit code of a child that found no program

// In the child, after fork: becomes the server. Does not return.
[[noreturn]] void BecomeServer(char* const* argv, int out_fd) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);  // a benchmark that is killed leaves no server behind
  dup2(out_fd, STDOUT_FILENO);
  execvp(argv[0], argv);
  _exit(kNotInstalled);
}

}  // namespace

absl::StatusOr<std::unique_ptr<RedisServer>> RedisServer::Start(const std::string& directory,
                                                                int64_t max_bytes) {
  std::unique_ptr<RedisServer> server(new RedisServer(directory + "/redis.socket"));
  // No port, no snapshots, no log of commands.
  std::vector<std::string> args = {"redis-server",
                                   "--port",
                                   "0",
                                   "--unixsocket",
                                   server->socket_path(),
                                   "--save",
                                   "",
                                   "--appendonly",
                                   "no",
                                   "--maxmemory",
                                   absl::StrCat(max_bytes),
                                   "--dir",
                                   directory};
  std::vector<char*> argv;
  for (std::string& arg : args) argv.push_back(arg.data());
  argv.push_back(nullptr);
  int out[2];
  if (pipe2(out, O_CLOEXEC) != 0) {
    return absl::InternalError(absl::StrCat("pipe: ", std::strerror(errno)));
  }
  server->stdout_fd_ = out[0];
  server->pid_ = fork();
  if (server->pid_ == 0) BecomeServer(argv.data(), out[1]);
  close(out[1]);
  if (server->pid_ < 0) return absl::InternalError(absl::StrCat("fork: ", std::strerror(errno)));
  RETURN_IF_ERROR(server->AwaitReady());
  return server;
}

RedisServer::~RedisServer() {
  Kill();
  if (stdout_fd_ >= 0) close(stdout_fd_);
}

absl::Status RedisServer::AwaitReady() {
  std::string line;
  std::string last;
  for (char c; read(stdout_fd_, &c, 1) == 1;) {
    if (c != '\n') {
      line.push_back(c);
      continue;
    }
    if (absl::StrContains(line, "ready to accept connections")) return absl::OkStatus();
    last = std::exchange(line, "");
  }
  const int end = Kill();
  if (WIFEXITED(end) && WEXITSTATUS(end) == kNotInstalled) {
    return absl::NotFoundError("redis-server is not installed");
  }
  return absl::UnavailableError(absl::StrCat("redis-server ended before it was ready: ", last));
}

int RedisServer::Kill() {
  if (pid_ <= 0) return 0;
  int end = 0;
  kill(pid_, SIGKILL);
  waitpid(pid_, &end, 0);
  pid_ = -1;
  return end;
}

}  // namespace reprise::bench
