// Decoder: a way to run one model greedily, as a benchmark measures it: ours, or a peer's.
// Thread-compatible.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace reprise::bench {

// What a call gave, and how long the computation alone took.
struct Decoded {
  double seconds = 0;
  std::vector<uint32_t> tokens;  // one a sequence for each step, step by step
};

class Decoder {
 public:
  virtual ~Decoder() = default;

  // The program, its version and what it computes in, for the context of a row.
  virtual const std::string& name() const = 0;

  // Forgets what was, then computes prompts of equal length; returns the greedy next token of each.
  // BLOCKS.
  virtual absl::StatusOr<Decoded> Prompt(absl::Span<const std::vector<uint32_t>> prompts) = 0;

  // Goes on with the prompts, all in one batch: `steps` more tokens of each. BLOCKS.
  // REQUIRES: Prompt() succeeded; at most kDecoderRoom steps since.
  virtual absl::StatusOr<Decoded> Decode(int steps) = 0;
};

// Tokens that a sequence may decode after its prompt.
inline constexpr int kDecoderRoom = 1024;

}  // namespace reprise::bench
