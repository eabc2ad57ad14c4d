// ChildProcess: the real binary, or another program, started with pipes on its stdout and stderr.
// Killed when the object goes. Thread-compatible.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "cachestore/base/check.h"

namespace reprise {

class ChildProcess {
 public:
  // Starts `program` with `args` and an empty stdin, or with `input` on it.
  explicit ChildProcess(const std::vector<std::string>& args, const std::string& input = "",
                        const std::string& program = REPRISE_BINARY) {
    int in[2];
    int out[2];
    int err[2];
    CHECK(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0 && pipe2(err, O_CLOEXEC) == 0);
    pid_ = fork();
    CHECK(pid_ >= 0);
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);  // a test that is killed leaves no server behind
      dup2(in[0], STDIN_FILENO);
      dup2(out[1], STDOUT_FILENO);
      dup2(err[1], STDERR_FILENO);
      std::vector<char*> argv = {const_cast<char*>(program.c_str())};
      for (const std::string& arg : args) argv.push_back(const_cast<char*>(arg.c_str()));
      argv.push_back(nullptr);
      execv(program.c_str(), argv.data());
      _exit(127);
    }
    close(in[0]);
    close(out[1]);
    close(err[1]);
    // Less than a pipe holds, so this cannot block.
    CHECK(write(in[1], input.data(), input.size()) == static_cast<ssize_t>(input.size()));
    close(in[1]);
    out_ = out[0];
    err_ = err[0];
  }
  ~ChildProcess() {
    if (pid_ > 0) {
      Signal(SIGKILL);
      Wait();
    }
    close(out_);
    close(err_);
  }
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  pid_t pid() const { return pid_; }
  void Signal(int signal) { kill(pid_, signal); }

  // Waits for the end; the exit code, or 128 + signal. BLOCKS.
  int Wait() {
    int status = 0;
    CHECK(waitpid(pid_, &status, 0) == pid_);
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

  // Reads stdout up to the line that begins with `prefix` and returns the rest of it; empty when
  // stdout ends without it. BLOCKS.
  std::string AwaitLine(const std::string& prefix) {
    std::string line;
    for (char c = 0; read(out_, &c, 1) == 1;) {
      output_.push_back(c);
      if (c != '\n') {
        line.push_back(c);
        continue;
      }
      if (absl::StartsWith(line, prefix)) return std::string(absl::StripPrefix(line, prefix));
      line.clear();
    }
    return "";
  }

  // Reads stdout and stderr until `deadline`, so that the process is not held up; false: stdout has
  // ended. BLOCKS.
  bool ReadUntil(absl::Time deadline) {
    while (true) {
      pollfd ready[] = {{.fd = out_, .events = POLLIN},
                        {.fd = err_ended_ ? -1 : err_, .events = POLLIN}};
      const absl::Duration left = absl::Ceil(deadline - absl::Now(), absl::Milliseconds(1));
      const int64_t wait = std::max<int64_t>(absl::ToInt64Milliseconds(left), 0);
      if (poll(ready, 2, static_cast<int>(wait)) <= 0) {
        if (absl::Now() >= deadline) return true;
        continue;
      }
      if (ready[1].revents != 0) err_ended_ = !Append(err_, &errors_);
      if (ready[0].revents != 0 && !Append(out_, &output_)) return false;
    }
  }
  // Everything on stdout so far; with ReadAll, up to its end. BLOCKS.
  const std::string& ReadAll() {
    AwaitLine("\n");
    return output_;
  }
  const std::string& output() const { return output_; }
  // Everything on stderr, up to its end. BLOCKS.
  const std::string& ReadErrors() {
    while (Append(err_, &errors_)) {
    }
    return errors_;
  }

 private:
  // What is there to read; false: the end.
  static bool Append(int fd, std::string* text) {
    char bytes[4096];
    const ssize_t got = read(fd, bytes, sizeof(bytes));
    if (got > 0) text->append(bytes, static_cast<size_t>(got));
    return got > 0;
  }

  pid_t pid_ = -1;  // -1: it has ended
  int out_ = -1;
  int err_ = -1;
  std::string output_;
  std::string errors_;
  bool err_ended_ = false;
};

// What a command that ends by itself did.
struct CommandResult {
  int exit_code = 0;
  std::string output;
  std::string errors;
};

// Runs `program` with `args` to its end. Its stderr must fit into a pipe. BLOCKS.
inline CommandResult RunCommand(const std::vector<std::string>& args, const std::string& input = "",
                                const std::string& program = REPRISE_BINARY) {
  ChildProcess process(args, input, program);
  CommandResult result;
  result.output = process.ReadAll();
  result.errors = process.ReadErrors();
  result.exit_code = process.Wait();
  return result;
}

}  // namespace reprise
