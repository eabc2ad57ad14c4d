// PeerDecoder: a Decoder in a child process, which speaks the lines of peer_protocol.py.
// Thread-compatible.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "bench/decoder.h"
#include "bench/peers/peer_process.h"

namespace reprise::bench {

class PeerDecoder final : public Decoder {
 public:
  // Errors are PeerProcess::Start's. BLOCKS.
  static absl::StatusOr<std::unique_ptr<PeerDecoder>> Start(std::vector<std::string> command);

  const std::string& name() const override { return process_->name(); }
  // Errors of both: kUnavailable: the process is gone; kInternal: its own message, or an answer
  // that is none.
  absl::StatusOr<Decoded> Prompt(absl::Span<const std::vector<uint32_t>> prompts) override;
  absl::StatusOr<Decoded> Decode(int steps) override;

 private:
  explicit PeerDecoder(std::unique_ptr<PeerProcess> process) : process_(std::move(process)) {}
  // Sends `line`; the answer must have `num_tokens` tokens.
  absl::StatusOr<Decoded> Ask(const std::string& line, size_t num_tokens);

  const std::unique_ptr<PeerProcess> process_;
  size_t num_sequences_ = 0;
};

}  // namespace reprise::bench
