// PeerDecoder: a Decoder in a child process, which speaks the lines of peer_protocol.py. Owns the
// process, which goes with the object and keeps its model loaded until then. Thread-compatible.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "bench/decoder.h"

namespace reprise::bench {

class PeerDecoder final : public Decoder {
 public:
  // Starts `command` (a program and its arguments) and waits until it is ready. BLOCKS.
  // kUnavailable: it ended before or cannot run, with what it said.
  static absl::StatusOr<std::unique_ptr<PeerDecoder>> Start(std::vector<std::string> command);
  ~PeerDecoder() override;
  PeerDecoder(const PeerDecoder&) = delete;
  PeerDecoder& operator=(const PeerDecoder&) = delete;

  const std::string& name() const override { return name_; }
  // Errors of both: kUnavailable: the process is gone; kInternal: its own message, or an answer
  // that is none.
  absl::StatusOr<Decoded> Prompt(absl::Span<const std::vector<uint32_t>> prompts) override;
  absl::StatusOr<Decoded> Decode(int steps) override;

 private:
  explicit PeerDecoder(std::string program) : program_(std::move(program)) {}
  absl::Status Send(absl::string_view line);
  absl::StatusOr<std::string> ReadLine();
  // Sends `line`; the answer must have `num_tokens` tokens.
  absl::StatusOr<Decoded> Ask(const std::string& line, size_t num_tokens);

  const std::string program_;
  std::string name_;
  size_t num_sequences_ = 0;
  pid_t pid_ = -1;
  int socket_ = -1;
  std::string unread_;  // received behind the last line
};

}  // namespace reprise::bench
