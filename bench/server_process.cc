#include "bench/server_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace reprise::bench {
namespace {

constexpr char kReadyPrefix[] = "listening on ";

std::string LastLine(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::string last;
  while (std::getline(file, line)) {
    if (!line.empty()) last = line;
  }
  return last;
}

// In the child, after fork: becomes the server. Does not return.
[[noreturn]] void BecomeServer(const std::vector<std::string>& args, int out_fd, int log_fd) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);  // a benchmark that is killed leaves no server behind
  dup2(out_fd, STDOUT_FILENO);
  dup2(log_fd, STDERR_FILENO);
  std::vector<char*> argv;
  for (const std::string& arg : args) argv.push_back(const_cast<char*>(arg.c_str()));
  argv.push_back(nullptr);
  execv("/proc/self/exe", argv.data());
  _exit(127);
}

}  // namespace

absl::StatusOr<std::unique_ptr<ServerProcess>> ServerProcess::Start(std::vector<std::string> flags,
                                                                    const std::string& log_path) {
  std::vector<std::string> args = {"reprise", "serve"};
  if (std::find(flags.begin(), flags.end(), "--listen") == flags.end()) {
    args.insert(args.end(), {"--listen", "127.0.0.1:0"});
  }
  args.insert(args.end(), std::make_move_iterator(flags.begin()),
              std::make_move_iterator(flags.end()));
  int out[2];
  if (pipe2(out, O_CLOEXEC) != 0) {
    return absl::InternalError(absl::StrCat("pipe: ", std::strerror(errno)));
  }
  const int log_fd = open(log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  const pid_t pid = fork();
  if (pid == 0) BecomeServer(args, out[1], log_fd);
  close(out[1]);
  if (log_fd >= 0) close(log_fd);
  std::unique_ptr<ServerProcess> server(new ServerProcess(pid, out[0]));
  std::string line;
  for (char c; read(out[0], &c, 1) == 1;) {
    if (c != '\n') {
      line.push_back(c);
      continue;
    }
    if (absl::StartsWith(line, kReadyPrefix)) {
      server->address_ = std::string(absl::StripPrefix(line, kReadyPrefix));
      return server;
    }
    line.clear();
  }
  return absl::UnavailableError(
      absl::StrCat("reprise serve ended before it was ready: ", LastLine(log_path)));
}

ServerProcess::~ServerProcess() {
  Kill();
  close(stdout_fd_);
}

void ServerProcess::Kill() {
  if (pid_ <= 0) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

}  // namespace reprise::bench
