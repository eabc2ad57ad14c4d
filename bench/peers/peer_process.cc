#include "bench/peers/peer_process.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "cachestore/base/status_macros.h"

namespace reprise::bench {
namespace {

absl::Status Failed(const char* call) {
  return absl::InternalError(absl::StrCat(call, ": ", std::strerror(errno)));
}

// In the child, after fork: becomes the peer. Does not return.
[[noreturn]] void BecomePeer(char* const* argv, int socket) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);  // a benchmark that is killed leaves no peer behind
  dup2(socket, STDIN_FILENO);
  dup2(socket, STDOUT_FILENO);
  execvp(argv[0], argv);
  dprintf(STDOUT_FILENO, "error %s\n", std::strerror(errno));
  _exit(127);
}

}  // namespace

absl::StatusOr<std::unique_ptr<PeerProcess>> PeerProcess::Start(std::vector<std::string> command) {
  std::unique_ptr<PeerProcess> peer(new PeerProcess(absl::StrJoin(command, " ")));
  std::vector<char*> argv;
  for (std::string& arg : command) argv.push_back(arg.data());
  argv.push_back(nullptr);
  int sockets[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0) return Failed("socketpair");
  peer->socket_ = sockets[0];
  peer->pid_ = fork();
  if (peer->pid_ == 0) BecomePeer(argv.data(), sockets[1]);
  close(sockets[1]);
  if (peer->pid_ < 0) return Failed("fork");
  ASSIGN_OR_RETURN(const std::string line, peer->ReadLine());
  absl::string_view words = line;
  if (!absl::ConsumePrefix(&words, "ready ")) {
    return absl::UnavailableError(absl::StrCat(peer->program_, ": ", line));
  }
  peer->name_ = std::string(words);
  return peer;
}

PeerProcess::~PeerProcess() {
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  if (socket_ >= 0) close(socket_);
}

absl::StatusOr<std::string> PeerProcess::Ask(absl::string_view line) {
  RETURN_IF_ERROR(Send(line));
  return ReadLine();
}

absl::Status PeerProcess::NoAnswer(absl::string_view answer) const {
  return absl::InternalError(absl::StrCat(program_, ": ", answer));
}

absl::Status PeerProcess::Send(absl::string_view line) {
  std::string bytes = absl::StrCat(line, "\n");
  for (absl::string_view left = bytes; !left.empty();) {
    const ssize_t sent = send(socket_, left.data(), left.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return absl::UnavailableError(absl::StrCat(program_, " has ended"));
    left.remove_prefix(static_cast<size_t>(sent));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> PeerProcess::ReadLine() {
  for (;;) {
    if (const size_t end = unread_.find('\n'); end != std::string::npos) {
      std::string line = unread_.substr(0, end);
      unread_.erase(0, end + 1);
      return line;
    }
    char buffer[4096];
    const ssize_t got = recv(socket_, buffer, sizeof(buffer), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return absl::UnavailableError(absl::StrCat(program_, " has ended"));
    unread_.append(buffer, static_cast<size_t>(got));
  }
}

}  // namespace reprise::bench
