// ChildProcess: the real binary, or another program, started with pipes on its stdout and stderr.
// Killed when the object goes. Thread-compatible.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/strip.h"
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

  // Everything on stdout so far; with ReadAll, up to its end. BLOCKS.
  const std::string& ReadAll() {
    AwaitLine("\n");
    return output_;
  }
  const std::string& output() const { return output_; }
  // Everything on stderr, up to its end. BLOCKS. Call once.
  std::string ReadErrors() {
    std::string errors;
    for (char c = 0; read(err_, &c, 1) == 1;) errors.push_back(c);
    return errors;
  }

 private:
  pid_t pid_ = -1;  // -1: it has ended
  int out_ = -1;
  int err_ = -1;
  std::string output_;
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
