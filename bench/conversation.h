// Conversation: a written multi-turn chat that benchmarks play: a system prompt and the user's
// turns.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace reprise::bench {

struct Conversation {
  std::string system;
  std::vector<std::string> turns;  // what the user says, first turn first
};

// Reads {"system": "...", "turns": ["...", ...]}. kNotFound; kInvalidArgument with the cause.
absl::StatusOr<Conversation> ReadConversation(const std::string& path);

}  // namespace reprise::bench
